"""What was lent of each title."""

from database import connect
from queries.press import loans_csv
from sniplets import table

cursor = connect().cursor()
cursor.execute(loans_csv.query)
table.write(cursor)
