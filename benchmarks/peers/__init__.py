"""The same train steps in other frameworks: what a user of Keras or PyTorch would write today."""
