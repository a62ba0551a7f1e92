"""How many titles there are in each language."""

import json

from database import connect
from queries.museum import languages_json

cursor = connect().cursor()
cursor.execute(languages_json.query)
print(json.dumps(dict(cursor.fetchall()), indent=2))
