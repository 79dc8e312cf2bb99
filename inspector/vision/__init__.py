"""Everything that knows tensors: routing, heads, engines, enrolment and evaluation."""
