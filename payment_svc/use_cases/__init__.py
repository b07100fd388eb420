"""payment's use cases, one function each: load aggregates, call one method, save them."""
