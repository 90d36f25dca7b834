"""How do measurements and alerts say it, in English and in Japanese?"""

from __future__ import annotations

from dataclasses import dataclass

from backup_assets.restore.drill_report import duration
from backup_assets.settings import Settings
from backup_assets.watch.alert_words_en import ENGLISH
from backup_assets.watch.alert_words_ja import JAPANESE
from backup_assets.watch.report_words import Language, units_in_japanese

TABLES: dict[Language, dict[str, str]] = {"en": ENGLISH, "ja": JAPANESE}
_SPANS: dict[Language, tuple[str, str, str, str]] = {"en": ("days", "h", "min", "s"), "ja": ("日", "時間", "分", "秒")}


@dataclass(frozen=True)
class AlertWords:
    """The words of one language."""

    language: Language

    def say(self, key: str, /, **values: object) -> str:
        """Return the sentence of a key with its values."""
        return TABLES[self.language][key].format(**values)

    def join(self, how: str, parts: list[str]) -> str:
        """Return parts with the word of a key between them."""
        return self.say(how).join(parts)

    def time(self, seconds: float) -> str:
        """Return a duration in its two largest units: ``1 h 12 min``."""
        text = duration(seconds)
        return text if self.language == "en" else units_in_japanese(text, " ")

    def span(self, seconds: float) -> str:
        """Return a duration in its largest unit: ``3 days``, ``5 h``, ``12 min``."""
        days, *units = _SPANS[self.language]
        # Two days at least, so that a number is not rounded by half.
        for unit, length, least in ((days, 86400, 2), (units[0], 3600, 1), (units[1], 60, 1)):
            if seconds >= length * least:
                return f"{int(seconds // length)} {unit}"
        return f"{int(max(seconds, 0))} {units[2]}"


IN_ENGLISH = AlertWords("en")


def words_of(settings: Settings) -> AlertWords:
    """Return the words in which the settings want alerts."""
    return AlertWords(settings.watch.alert_language or settings.watch.language)
