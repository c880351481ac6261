"""The Image Disclaimer (R59): DISCLAIMER.md, which a test compares with this text."""

VERSION = "1"
"""Of the text; another text gets another version."""

TEXT = """\
# The Image Disclaimer

Version 1.

By `disclaimer_accepted` (`--accept-disclaimer`) you agree to this for an image that you make or import.

1. An image holds all data of its disks: also keys, passwords, logs and personal data. You have the right
   to copy these data, and to give them to every user of the image.
2. The licences of the operating system and of all software on the disks allow as many copies as you make
   servers.
3. A copy of a server that was not prepared (Cloud-Init or Cloudbase-Init, addresses by DHCP, file
   systems by UUID) may not start, or may start with the identity of its source. The findings are
   recorded with the image.
4. An image of a running server is crash-consistent: it has the content of its disks at one instant, as
   after a power cut.
"""
