"""Other people's formats and programs, behind doors of their own; nothing here is loaded unless it is asked for."""
