"""The appliance's side: what may be installed is found, proved, installed and told."""
