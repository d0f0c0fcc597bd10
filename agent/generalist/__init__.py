"""The generalist: one LangChain chat model over a local vision-language model."""
