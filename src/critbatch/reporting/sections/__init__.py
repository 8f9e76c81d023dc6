"""The sections of the page: each takes records and gives a heading, sentences, figures and tables."""
