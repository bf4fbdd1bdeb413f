"""The application's own page, as a person uses it: signs in, chooses a model, attaches a file, says something, reads, signs out.

Both releases: what they call differently is looked for by either name.
"""

from __future__ import annotations

import json
from pathlib import Path

from browser import Browser, Heard

_CHOOSER = "[id^=model-selector][id$=button]"
_OPTIONS = "[...document.querySelectorAll('[role=option], button[data-value]')]"
_SEND = "[...document.querySelectorAll('#send-message-button')].at(-1)"
# Drops a file into the chat as a hand does: the application hears of it by the input's event.
_ATTACH = """(() => {
  const input = document.querySelector('input[type=file][multiple]');
  const files = new DataTransfer();
  files.items.add(new File([%s], %s, {type: 'text/plain'}));
  input.files = files.files;
  input.dispatchEvent(new Event('change', {bubbles: true}));
})()"""
_MENU = """(document.querySelector('button[aria-label="User menu"]')
  ?? document.querySelector('img[alt="Open User Profile Menu"]').closest('button'))"""


class Page:
    """The page of one person, in a browser of that person's own."""

    def __init__(self, browser: Browser, port: int) -> None:
        self._browser = browser
        self._url = f"http://127.0.0.1:{port}"

    def sign_in(self, email: str, password: str) -> None:
        """Signs in by the form, and waits for the chat."""
        self._browser.open(f"{self._url}/auth")
        self._type("#email", email)
        self._type("#password", password)
        self._click("document.querySelector('form button[type=submit]')")
        self._appears("document.querySelector('#chat-input')")
        self._appears(f"document.querySelector('{_CHOOSER}')")

    def put_the_news_away(self) -> None:
        """An admin is shown what is new in the release first."""
        news = "[...document.querySelectorAll('button')].find(one => one.innerText.startsWith('Okay, Let'))"
        self._click(news)
        self._browser.until(f"!{news}")

    def models(self) -> list[str]:
        """What the page offers to choose from, by name; the chooser stays open."""
        self._click(f"document.querySelector('{_CHOOSER}')")
        self._appears(f"{_OPTIONS}[0]")
        names = self._browser.evaluate(f"{_OPTIONS}.map(one => one.dataset.value || one.ariaLabel)")
        return [name.removeprefix("Select ").removesuffix(" model") for name in names]

    def choose(self, model: str) -> None:
        """Chooses one of the models that are offered."""
        name = json.dumps(model)
        self._click(f"{_OPTIONS}.find(one => [one.dataset.value, one.ariaLabel?.split(' ')[1]].includes({name}))")
        self._browser.until(f"document.querySelector('{_CHOOSER}').innerText.includes({name})")

    def attach(self, name: str, text: str) -> None:
        """Uploads a file into the chat, and waits until the application has taken it."""
        self._browser.evaluate(_ATTACH % (json.dumps(text), json.dumps(name)))
        self.reads(name)
        # As long as it is being uploaded it turns.
        self._browser.until("!document.querySelector('#message-input-container, form').querySelector('[class^=spinner_]')")

    def say(self, text: str) -> None:
        """Says something; the answer comes when it likes."""
        self.write(text)
        self.send()

    def write(self, text: str) -> None:
        """Writes something, and waits until it could be sent: the answer before has come to its end."""
        self._type("#chat-input", text)
        self._browser.until(f"{_SEND}?.disabled === false")

    def send(self) -> None:
        """Sends what is written."""
        self._click(_SEND)

    def reads(self, text: str) -> None:
        """Waits until the page says it."""
        self._browser.until(f"document.body.innerText.includes({json.dumps(text)})")

    def says(self, text: str) -> bool:
        """Whether the page says it now."""
        return bool(self._browser.evaluate(f"document.body.innerText.includes({json.dumps(text)})"))

    def go(self, path: str) -> None:
        """Opens another page of the application."""
        self._browser.open(self._url + path)

    def asks(self, path: str) -> int:
        """Asks as the page itself does, and gives the status of the answer."""
        session = "{headers: {authorization: 'Bearer ' + localStorage.token}}"
        return int(self._browser.evaluate(f"fetch('{path}', {session}).then(answer => answer.status)"))

    def sign_out(self) -> None:
        """Signs out by the menu, and waits for the form."""
        self._appears(_MENU)
        for event in ("pointerdown", "pointerup"):
            self._browser.evaluate(f"{_MENU}.dispatchEvent(new PointerEvent('{event}', {{bubbles: true}}))")
        self._click(_MENU)
        self._click("[...document.querySelectorAll('button, [role=menuitem]')].find(one => one.innerText.trim() === 'Sign Out')")
        self._appears("document.querySelector('#password')")

    def picture(self, file: Path) -> None:
        self._browser.picture(file)

    def heard(self) -> Heard:
        return self._browser.heard()

    def _type(self, selector: str, text: str) -> None:
        self._appears(f"document.querySelector('{selector}')")
        self._browser.evaluate(f"document.querySelector('{selector}').focus()")
        self._browser.evaluate(f"document.execCommand('insertText', false, {json.dumps(text)})")
        # Some inputs are heard only when they are left.
        self._browser.evaluate(f"document.querySelector('{selector}').blur()")

    def _click(self, element: str) -> None:
        self._appears(element)
        self._browser.evaluate(f"{element}.click()")

    def _appears(self, element: str) -> None:
        self._browser.until(f"!!({element})")
