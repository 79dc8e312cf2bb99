"""What an enrolment says about itself: hygiene, detectability, routing re-check, report."""
