"""The pages, a file each: what an address asks for is read and rendered, and what a form says is done."""
