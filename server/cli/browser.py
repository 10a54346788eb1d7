"""Opens a page in the user's browser."""

import asyncio
import os
import webbrowser


async def open_page(url: str) -> bool:
    """Opens a page. Returns whether there is a browser to do it; one in the terminal, such as w3m, counts only if the
    environment variable BROWSER names it.
    """
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    # Exactly this class: those for the terminal. They would take it over, and wait to be quit.
    if type(browser) is webbrowser.GenericBrowser and "BROWSER" not in os.environ:
        return False
    return await asyncio.to_thread(browser.open, url)  # some wait until the browser is up
