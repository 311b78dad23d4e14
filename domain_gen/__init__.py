"""Domain-generalisation track: trained on one domain, evaluated on others that it never saw."""
