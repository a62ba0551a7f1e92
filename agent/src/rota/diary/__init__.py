"""The diary: a Django project in which all hosts' runs are searched and reviewed."""
