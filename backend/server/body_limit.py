"""A body that is counted while it comes in, and cut off where it is longer than it may be."""

from starlette.types import Message, Receive, Send


class BodyLimit:
    """Stands between a server and an app for one request. Past the limit the app hears that the client is gone, and
    nothing that it says then is sent."""

    def __init__(self, receive: Receive, send: Send, largest: int):
        self._receive = receive
        self._send = send
        self._left = largest
        self._begun = False

    @property
    def exceeded(self) -> bool:
        """Whether more came than may."""
        return self._left < 0

    @property
    def unanswered(self) -> bool:
        """Whether more came than may before the app had said anything."""
        return self.exceeded and not self._begun

    async def receive(self) -> Message:
        """The next message for the app."""
        if self.exceeded:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self.exceeded:
                return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        """A message from the app."""
        if self.unanswered:
            return
        self._begun = True
        await self._send(message)
