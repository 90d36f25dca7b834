"""How does somebody outside notice that nobody watches any more?"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

from backup_assets import __version__

ANSWER_SECONDS = 8.0


def ping(url: str, *, seconds: float = ANSWER_SECONDS) -> str:
    """Request an address; return nothing when it answered 2xx, else why not, without the address, which is a secret."""
    request = urllib.request.Request(url.strip(), headers={"User-Agent": f"backup-assets/{__version__}"})  # noqa: S310 - http(s) only, as the settings check
    try:
        with urllib.request.urlopen(request, timeout=seconds):  # noqa: S310
            return ""
    except urllib.error.HTTPError as error:
        return f"it answered {error.code}"
    except TimeoutError:
        return f"no answer within {seconds:.0f} s"
    except urllib.error.URLError as error:
        reason = error.reason
        return reason.strerror or "no connection" if isinstance(reason, OSError) else "no connection"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"no answer ({type(error).__name__})"
