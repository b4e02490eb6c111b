TASKS = ()
SOURCES = {}
