r"""Conversations in LLaVA's JSON: the data of others comes in, our made-up expert dialogues go out.

    python -m clarify.training.generalist.conversations --data DATA --pictures runs/pictures.npz --out FOLDER

A file is one list of records (Liu et al. 2023, arXiv 2304.08485), `<image>` where a picture stands:

    {"id": "7", "image": "a.png", "conversations": [
        {"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": "A mole."}]}

Tool calls are written as the ShareGPT dialect does: the roles `function_call` (value: JSON `{"name",
"arguments"}`, or a list of them) and `observation`, one after the other for the calls of a turn; `system`
(text) and `tools` (a JSON list) stand beside `conversations`. A `gpt` turn right before a `function_call` is
what was said with the call. `"weight": 0` on a turn of the assistant says that it is read and not learnt, as
in OpenAI's fine-tuning format. A line break after `<image>` belongs to the format and not to the text.

The command writes `FOLDER/conversations.json` and the pictures in `FOLDER/images`.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import ToolCall, tool_call
from langchain_core.utils.function_calling import convert_to_openai_tool
from PIL import Image
from pydantic import ValidationError

from ...agent.generalist.pictures import ImageLoader
from ...agent.images import decode
from ...agent.prompts import system_prompt
from ...errors import BadImage, BadInput
from ...tools.classify import CLASSIFY, classify_tool
from ...tools.experts import Memo
from ...tools.knowledge import KNOWLEDGE, knowledge_tool
from .dialogues import DialogueMaker, Message
from .pictures import PictureBank
from .records import Conversation, Record, call_id, from_record, reason, refuse, to_record
from .stages import Source

IMAGES, FILE = "images", "conversations.json"


def read(file: Path, folder: Path) -> list[Conversation]:
    """Reads a file of conversations.

    Args:
        file: JSON, a list of records.
        folder: Where the paths of pictures begin.

    Raises:
        BadInput: The file, or a record that the message names, cannot be used.
    """
    try:
        rows = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{file} cannot be read: {error}", hint="Give a JSON list of conversations."
        ) from error
    if not isinstance(rows, list):
        raise BadInput(f"{file} holds no list", hint="Give a JSON list of conversations.")
    found = []
    for number, row in enumerate(rows):
        record = _record(row, number)
        for name in record.pictures:
            _check_path(record.id, name, folder)
        found.append(from_record(record))
    return found


def write(file: Path, conversations: Sequence[Conversation]) -> None:
    """Writes conversations as `read` takes them; pictures are not touched.

    Raises:
        BadInput: See `to_record`.
    """
    rows = [to_record(c).model_dump(by_alias=True, exclude_defaults=True) for c in conversations]
    file.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def opener(folder: Path) -> ImageLoader:
    """Opens the pictures of conversations that `read` has checked, exactly as the agent takes one in."""

    def open_picture(name: str) -> Image.Image:
        try:
            return decode((folder / name).read_bytes())
        except BadImage as error:
            raise BadImage(f"{name}: {error}", hint=error.hint) from error

    return open_picture


def from_dialogue(name: str, dialogue: Sequence[Message], profile: str = "nano") -> Conversation:
    """A made-up dialogue as the state machine would show it to a generalist.

    Args:
        name: Its id.
        dialogue: Of `DialogueMaker`; the path of picture i is `picture_file(i)`.
        profile: Whose system prompt it gets, see `agent.prompts.system_prompt`.
    """
    messages: list[BaseMessage] = [SystemMessage(system_prompt(profile, (CLASSIFY, KNOWLEDGE)))]
    waiting: list[ToolCall] = []
    unlearnt = set()
    for message in dialogue:
        at = len(messages)
        if message.role == "user":
            blocks: list[Any] = []
            for label, index in message.images:
                picture = {"type": "image", "file_id": picture_file(index)}
                blocks += [{"type": "text", "text": f"{label}:"}, picture]
            text = {"type": "text", "text": message.text}
            messages.append(HumanMessage([*blocks, text] if blocks else message.text))
        elif message.role == "tool":
            call = waiting.pop(0)
            messages.append(ToolMessage(message.text, name=call["name"], tool_call_id=call["id"] or ""))
        else:
            made = enumerate(message.calls)
            waiting = [tool_call(name=c.name, args=c.args, id=call_id(at, i)) for i, c in made]
            messages.append(AIMessage(message.text, tool_calls=list(waiting)))
            unlearnt |= set() if message.target else {at}
    pictures = [label for message in dialogue for label, _ in message.images]
    return Conversation(name, messages, _offered(pictures), frozenset(unlearnt))


def picture_file(index: int) -> str:
    """Where the picture with this number in the bank is written, in the folder of pictures."""
    return f"{index:06d}.png"


def _record(row: Any, number: int) -> Record:
    try:
        return Record.model_validate(row)
    except ValidationError as error:
        name = row.get("id", f"number {number}") if isinstance(row, Mapping) else f"number {number}"
        refuse(str(name), reason(error), "The module's documentation shows the format.", error)


def _check_path(record: str, name: str, folder: Path) -> None:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        refuse(record, f"the picture {name} is outside {folder}", "Name pictures inside the folder.")
    if not path.is_file():
        refuse(record, f"there is no picture {path}", "Say where the pictures are.")


def _offered(pictures: Sequence[str]) -> list[dict[str, Any]]:
    """The two tools of the dialogues as a turn with these pictures offers them; they are shown, never run."""

    def never(*_: Any) -> Any:
        raise NotImplementedError("a tool that is only described was called")

    tools = (
        classify_tool(
            specialist=never, open_image=never, pictures=pictures, threshold=1.0, sha256={}, memo=Memo()
        ),
        knowledge_tool(knowledge=never, max_rows=1),
    )
    return [convert_to_openai_tool(tool) for tool in tools]


def main() -> None:
    """Makes dialogues and writes them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with disease_ontology/ and hetionet_subset/"
    )
    parser.add_argument("--pictures", type=Path, help="as `train` takes it; without it: text only")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "test"), default="train")
    parser.add_argument("--brief", type=float, default=0.0, help="as `train` takes it")
    parser.add_argument("--profile", default="nano", help="whose system prompt: nano, or any other's")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    bank = PictureBank.load(args.pictures) if args.pictures else None
    maker = Source(args.data, bank, args.split, args.brief).dialogues(pictures=True)
    print(json.dumps(export(maker, bank, args.n, args.out, args.profile, args.seed)))


def export(
    maker: DialogueMaker, bank: PictureBank | None, n: int, out: Path, profile: str = "nano", seed: int = 0
) -> dict[str, int]:
    """Writes `n` made-up dialogues and the pictures they show; says how many of each.

    Args:
        maker: Makes the dialogues.
        bank: What it draws pictures from.
        n: How many dialogues.
        out: Folder to write.
        profile: See `from_dialogue`.
        seed: Dialogue i follows from it and i.
    """
    (out / IMAGES).mkdir(parents=True, exist_ok=True)
    dialogues = [maker.make(random.Random(f"conversations/{seed}/{i}")) for i in range(n)]
    shown = sorted({index for d in dialogues for message in d for _, index in message.images})
    if bank is not None:
        for index in shown:
            Image.fromarray(bank.pixels[index].transpose(1, 2, 0)).save(out / IMAGES / picture_file(index))
    write(out / FILE, [from_dialogue(f"{seed}-{i}", d, profile) for i, d in enumerate(dialogues)])
    return {"conversations": n, "pictures": len(shown)}


if __name__ == "__main__":
    main()
