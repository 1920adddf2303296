"""DeepJSCC."""
