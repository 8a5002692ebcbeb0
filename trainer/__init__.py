"""Everything between labelled pairs and a promoted model."""
