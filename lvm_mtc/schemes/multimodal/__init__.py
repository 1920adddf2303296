"""Multimodal token transmission: a picture and a question as pooled tokens, the answer at the base station."""
