"""Every patch is sent, those of the object with more symbols and more power."""
