"""CSBS: backups of whole servers, their states and content, and the lock of an image on a backup."""
