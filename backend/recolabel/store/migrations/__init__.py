"""Forward migrations of the database, run when a data folder is opened that is behind. Never edited once released."""

REVISIONS = ("0001", "0002")
"""Every revision, oldest first. Kept here so that opening an up-to-date database does not import Alembic."""
