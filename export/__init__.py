"""Turns a trained model into one that serves: the SavedModel, a server for it, and a client."""
