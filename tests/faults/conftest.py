"""Whole servers run on SQLite, and on PostgreSQL with S3."""

from tests.databases import engine, whole_servers

__all__ = ["engine", "whole_servers"]
