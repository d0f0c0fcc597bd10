"""The state machine: what is asked, who must be consulted, what may be said."""
