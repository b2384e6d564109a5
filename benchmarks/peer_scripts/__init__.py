"""Run by the interpreter of the peers; they import nothing of idp_tf."""
