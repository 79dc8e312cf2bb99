"""Choices for a product at its enrolment: its exposure, by trials on its good images, and what `--head auto` takes."""
