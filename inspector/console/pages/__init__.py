"""The pages, a file each: what the address asks for is read from the store and rendered, and what a form says is done."""
