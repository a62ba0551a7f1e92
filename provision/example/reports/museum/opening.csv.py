"""Days on which the museum is open: all but Mondays."""

from datetime import date, timedelta

print("day,weekday")
for number in range(365):
    day = date(2026, 1, 1) + timedelta(days=number)
    if day.weekday() != 0:
        print(f"{day},{day:%A}")
