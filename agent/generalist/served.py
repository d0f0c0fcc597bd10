"""A generalist behind OpenAI's protocol; pictures travel as data URLs. Needs the extra `server`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI
from pydantic import Field

from .pictures import ImageLoader, as_data_url, is_picture, load_picture


class ServedVLM(ChatOpenAI):
    """`ChatOpenAI` that understands this package's picture references."""

    image_loader: Callable[[str], Any] | None = Field(default=None, exclude=True, repr=False)

    @property
    def _llm_type(self) -> str:
        return "clarify-served-vlm"

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        messages = [inline_pictures(m, self.image_loader) for m in self._convert_input(input_).to_messages()]
        payload: dict[str, Any] = super()._get_request_payload(messages, stop=stop, **kwargs)
        return payload


def inline_pictures(message: BaseMessage, loader: ImageLoader | None) -> BaseMessage:
    """Returns the message with every picture as a data URL, in OpenAI's shape.

    Raises:
        BadImage: A picture cannot be read.
        BadInput: A reference cannot be resolved.
    """
    if isinstance(message.content, str) or not any(is_picture(block) for block in message.content):
        return message
    blocks = [
        {"type": "image_url", "image_url": {"url": as_data_url(load_picture(block, loader))}}
        if isinstance(block, dict) and is_picture(block)
        else block
        for block in message.content
    ]
    return message.model_copy(update={"content": blocks})
