"""What evidence raises: material that is malformed or does not prove what it claims, and runs that must stop."""

from ..errors import SessionLogError


class InvalidEvidence(SessionLogError):
    """A key, note, checkpoint, proof, tile, policy or statement is malformed, or does not verify. Trust none of it."""

    def __init__(self, reason: str) -> None:
        """Say what is wrong."""
        self.reason = reason
        super().__init__(reason)


class AnchoringStopped(SessionLogError):
    """Anchoring would sign two histories, or go on from an old one: nothing was signed.

    The anchors were restored from an old backup, were changed, or somebody else anchors under the same key. Find out
    which before you anchor again.
    """

    def __init__(self, reason: str) -> None:
        """Say what was found."""
        self.reason = reason
        super().__init__(reason)


__all__ = ["AnchoringStopped", "InvalidEvidence"]
