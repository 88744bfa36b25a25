"""A page in a headless browser: Chromium of Qt WebEngine, in a process of its own, without a display.

python benchmarks/headless_browser.py report.html --width 375 --screenshot report.png
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path


def visit(page, *, width=375, height=800, dark=False, scripts=(), screenshot=None):
    """Open a page and return what happened.

    Args:
        page: the file.
        width, height: of the window, in pixels.
        dark: prefer dark colours.
        scripts: expressions, evaluated in turn once the page is loaded.
        screenshot: where a picture of the window is written.

    Returns:
        A dict: ``loaded``, ``console`` (messages), ``requests`` (addresses) and ``answers`` (of the scripts).
    """
    command = [sys.executable, __file__, str(page), "--width", str(width), "--height", str(height)]
    command += [f"--script={script}" for script in scripts] + ["--dark"] * dark
    command += [] if screenshot is None else ["--screenshot", str(screenshot)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"The browser ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--width", type=int, default=375)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--script", action="append", default=[])
    parser.add_argument("--screenshot", type=Path)
    arguments = parser.parse_args()
    scheme = f"--blink-settings=preferredColorScheme={0 if arguments.dark else 1}"
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    os.environ["QTWEBENGINE_CHROMIUM_FLAGS"] = f"--no-sandbox --disable-gpu {scheme}"
    print(json.dumps(browse(arguments)))


def browse(arguments):
    """Return what :func:`visit` promises."""
    from PySide6.QtCore import QEventLoop, QTimer, QUrl
    from PySide6.QtWebEngineCore import QWebEnginePage, QWebEngineSettings, QWebEngineUrlRequestInterceptor
    from PySide6.QtWebEngineWidgets import QWebEngineView
    from PySide6.QtWidgets import QApplication

    seen = {"loaded": False, "console": [], "requests": [], "answers": []}

    class Page(QWebEnginePage):
        def javaScriptConsoleMessage(self, level, message, line, source):  # noqa: N802  Qt's name
            seen["console"].append(message)

    class Interceptor(QWebEngineUrlRequestInterceptor):
        def interceptRequest(self, info):  # noqa: N802  Qt's name
            seen["requests"].append(info.requestUrl().toString())

    def wait(start, milliseconds=60_000):
        """Run until what was started reports, and return what it reported."""
        loop, found = QEventLoop(), []
        QTimer.singleShot(milliseconds, loop.quit)
        start(lambda *values: (found.extend(values), loop.quit()))
        loop.exec()
        return found[0] if found else None

    application = QApplication(sys.argv[:1])
    view = QWebEngineView()
    page, interceptor = Page(view), Interceptor(view)
    page.setUrlRequestInterceptor(interceptor)
    page.settings().setAttribute(QWebEngineSettings.WebAttribute.ShowScrollBars, False)  # as on a phone
    view.setPage(page)
    view.resize(arguments.width, arguments.height)
    view.show()

    def load(report):
        page.loadFinished.connect(report)
        page.load(QUrl.fromLocalFile(str(arguments.page.resolve())))

    seen["loaded"] = wait(load)
    for script in arguments.script:
        answer = wait(lambda report, script=script: page.runJavaScript(f"JSON.stringify({script})", 0, report))
        seen["answers"].append(json.loads(answer) if answer else None)
    if arguments.screenshot is not None:
        wait(lambda report: QTimer.singleShot(1000, report))
        view.grab().save(str(arguments.screenshot))
    view.setPage(None)
    page.deleteLater()
    application.processEvents()
    return seen


if __name__ == "__main__":
    main()
