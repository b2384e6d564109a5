"""From pre-trained source domains to a new one (sections 2.5 and 2.6)."""
