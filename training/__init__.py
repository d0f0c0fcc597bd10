"""How the shipped weights came to be; each folder is a command that trains, checks and exports."""
