print("This line reaches nobody, for the next one fails.")
raise SystemExit("This failure is meant.")
