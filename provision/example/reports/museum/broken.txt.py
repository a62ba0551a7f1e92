"""A report that fails, to see what that looks like."""

print("This line reaches nobody, for the next one fails.")
raise SystemExit("This failure is meant.")
