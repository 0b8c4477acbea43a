"""Facts, checks, plan, journal and proof of one appliance's migration."""
