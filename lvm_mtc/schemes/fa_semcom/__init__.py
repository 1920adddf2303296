"""FA-SemCom: patch features for a question, with power by attention."""
