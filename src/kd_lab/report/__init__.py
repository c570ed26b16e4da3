"""The report: tables, tests and pictures of finished runs."""
