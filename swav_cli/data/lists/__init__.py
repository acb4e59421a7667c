"""Files that name pictures: tables, lists, records."""
