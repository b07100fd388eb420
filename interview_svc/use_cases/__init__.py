"""interview's use cases, one transaction each: load an aggregate, call one method, save it."""
