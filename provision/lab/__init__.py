"""The lab: four throw-away hosts on this machine, with real systemd and real SSH."""
