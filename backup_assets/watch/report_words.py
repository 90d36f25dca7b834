"""How does the report say it, in English and in Japanese?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from string import Formatter
from typing import Literal
from zoneinfo import ZoneInfo

from backup_assets.progress import human_bytes
from backup_assets.restore.drill_report import duration

Language = Literal["en", "ja"]

ENGLISH = {
    "title": "Backups of {database}",
    "month": "{month:%B %Y}",
    "subtitle": "Monthly report, environment {env}, {tier} database",
    "so_far": "The month is not over: this is the state of {at}.",
    "tier.important": "important",
    "tier.ordinary": "ordinary",
    "verdict.good": "Good",
    "verdict.attention": "Needs attention",
    "verdict.bad": "Not good",
    "sentence.good": "All {n} backups that were due were taken, and the newest are proven by real restores. At the "
    "worst moment of the month, {gap} of work would have been lost.",
    "sentence.more": "{sentence} More below: {n}.",
    "tile.slots": "backups taken",
    "tile.slots.of": "of {n} due, {proven} proven by a restore",
    "tile.rpo": "most work that could be lost",
    "tile.wanted": "promised: {wanted}",
    "tile.proof": "oldest age of the newest proof",
    "tile.rto": "slowest rehearsed recovery",
    "next": "What to do next",
    "next.nothing": "Nothing: keep it that way. Read this report again next month.",
    "promises": "What was promised",
    "promise": "Promise",
    "measured": "Measured",
    "wanted": "Promised",
    "state": "State",
    "state.met": "kept",
    "state.broken": "not kept",
    "state.unknown": "not known",
    "promise.rpo": "Work that may be lost (RPO): longest time between two good backups",
    "promise.verified": "Age of the newest backup that a restore has proven, at its oldest",
    "promise.drill": "A recovery rehearsal (drill) that passed",
    "promise.rto": "Time to recover (RTO): slowest drill",
    "gap.where": "The longest time between two good backups was from {since} to {until}.",
    "gap.at_most": "Some backups of the month are unknown, so that it may really have been shorter.",
    "drills.count": "{n}",
    "calendar": "The month, backup by backup",
    "calendar.text": "One mark for each backup that was due, on its day. Times are those of {zone}.",
    "slot.verified": "taken and proven by a restore",
    "slot.taken": "taken, not proven yet",
    "slot.failed": "damaged, or its check failed",
    "slot.missed": "missed",
    "slot.unknown": "not known any more",
    "slot.due": "not due yet",
    "legend": "Marks",
    "weekdays": "Mon Tue Wed Thu Fri Sat Sun",
    "problem_slots": "Backups that are missing, damaged or unknown",
    "slot": "Slot",
    "set": "Backup",
    "what_became": "What became of it",
    "and_more": "and {n} more",
    "sizes": "Sizes and durations",
    "chart.size": "Size of each day's backup",
    "chart.seconds": "How long each day's backup took",
    "chart.text": "{n} days with a backup; smallest {low}, largest {high}, last {last}.",
    "day": "Day",
    "backups": "Backups",
    "size": "Size",
    "took": "Took",
    "proven": "Proven",
    "copies": "Copies",
    "restores": "Restores and rehearsals",
    "restores.text": "{passed} trial restores passed and {failed} failed; {read} backups were read to their end or "
    "compared with their checksum.",
    "drills.none": "No rehearsal was held this month.",
    "restores.none": "Nothing was restored in earnest this month.",
    "when": "When",
    "what": "What",
    "from_store": "From",
    "result": "Result",
    "drill": "rehearsal (drill)",
    "restore": "restore into {database}",
    "passed": "passed",
    "not_passed": "FAILED: {problem}",
    "stores": "Copies in each store",
    "store": "Store",
    "where": "Where",
    "kind.local": "this machine",
    "kind.folder": "folder",
    "kind.s3": "bucket",
    "kind.ssh": "another host",
    "off_site": "{kind}, off-site",
    "got": "Got of this month",
    "got.of": "{n} of {of}",
    "still": "Still there",
    "latest": "Latest copy after",
    "today": "Holds today",
    "today.of": "{n} backups, {size}",
    "silent": "did not answer: {error}",
    "now": "How it stands today",
    "now.text": "Measured when this report was made.",
    "objective.rpo": "newest good backup",
    "objective.off_site": "newest copy at another site",
    "objective.verified": "newest proven backup",
    "objective.drill": "newest rehearsal that passed",
    "objective.rto": "time to recover",
    "objective.three_copies": "three copies",
    "objective.two_media": "two kinds of media",
    "objective.one_off_site": "one copy at another site",
    "objective.store_space": "space for the next backups",
    "objective.slots": "backups of the last two weeks",
    "objective.important_tables": "weekly set of the important tables",
    "objective.infrastructure": "infrastructure written down",
    "objective.met": "in order",
    "objective.warn": "soon to be looked at",
    "objective.broken": "broken",
    "objective.unknown": "not known",
    "retention": "Deleted and held",
    "retention.text": "Deleted from {store} by the retention rules: {n} ({size} in all), each when newer backups were "
    "proven.",
    "retention.none": "The retention deleted nothing that is known of.",
    "reason": "Why",
    "reason.superseded": "another one of that day is kept",
    "reason.outlived": "none of the daily, weekly and monthly ones that are kept",
    "reason.incomplete": "was incomplete",
    "reason.failed": "had failed its check",
    "holds": "Held, whatever the retention says",
    "holds.none": "No backup is held.",
    "growth": "Growth",
    "growth.none": "There are too few backups, or over too short a time, for a forecast.",
    "growth.text": "From {n} backups of {days} days: a backup grows by {likely} a month (between {low} and {high}).",
    "growth.in_days": "in {n} days",
    "growth.today": "at the end of the month",
    "growth.range": "{low} to {high}",
    "growth.likely": "Likely",
    "growth.between": "Between",
    "growth.when": "When",
    "growth.chart": "What {store} holds",
    "growth.full": "{store} has {free} free. It will be full around {likely}, at the earliest {earliest}, at the "
    "latest {latest}.",
    "growth.not_full": "{store} has {free} free, and with the growth so far it will not be full within two years.",
    "growth.never": "not foreseeable",
    "growth.method": "A straight line through the last 90 days at most; the range holds the lines of both halves of "
    "that time. While the retention has not deleted anything yet, a store seems to fill faster than it will.",
    "limits": "What this report cannot know",
    "limits.made": "Made at {at} from the backups in the stores, their records, and the notes of what was deleted; "
    "nothing else was asked. Times are those of {zone}.",
    "limits.unknown": "Backups that were due, are not there today, and of which nothing was written down: {n}. They "
    "may have been taken and deleted, or never taken.",
    "limits.notes": "Notes about deleted backups that are damaged and could not be read: {n}.",
    "limits.silent": "{store} did not answer, so that what is only there is not counted.",
    "limits.bucket": "A bucket that lets backups expire by itself leaves no note of it here.",
    "limits.hand": "What somebody deleted by hand left no note.",
    "none": "–",
    "finding.no_slots": "Nothing is known of this month: there is no backup and none was due.",
    "action.no_slots": "Check that the schedule runs and that the store is the right one.",
    "finding.no_set": "There is not one good backup of this month.",
    "action.no_set": "Take a backup today (`backup-assets backup`) and find out why none was taken.",
    "finding.rpo_broken": "From {since} on there was no good backup for {hours}, although no more than {wanted} may be "
    "lost.",
    "action.rpo_broken": "Look at the runs of that time in Dagster; see that their alerts reach somebody.",
    "finding.no_proof": "No backup of this month was proven by a restore.",
    "action.no_proof": "Prove the newest one (`backup-assets verify`) and see why the nightly proof does not run.",
    "finding.failed_last": "The last backups of the month are damaged or failed their check (since {slot}).",
    "action.failed_last": "Take a backup now and prove it; keep the last good one (`backup-assets hold`).",
    "finding.drill_failed": "The last recovery rehearsal, from {store} on {at}, failed.",
    "action.drill_failed": "Read its report, correct the cause, and rehearse again (`backup-assets drill`).",
    "finding.store_silent": "The store {store} did not answer when this report was made.",
    "action.store_silent": "Find out why (`backup-assets doctor`), then make this report again.",
    "finding.objective_broken": "Today a promise is broken: {objective}.",
    "action.objective_broken": "See the sentence for it in `backup-assets status`.",
    "finding.missed": "Backups that were due and missed: {n} (the first: {slot}).",
    "action.missed": "Look at the runs of those days; a missed backup cannot be made up for later.",
    "finding.unknown": "Backups that were due and of which nothing is known any more: {n}.",
    "action.unknown": "Make the report soon after the end of the month, and keep it.",
    "finding.failed": "Backups that were damaged or failed their check: {n} (the last: {slot}); newer ones are good.",
    "action.failed": "Read what their check found (`backup-assets show`), and check that disk.",
    "finding.unproven": "Backups that were taken but never proven by a restore: {n}.",
    "action.unproven": "Prove them (`backup-assets verify`), or see why the nightly proof did not run.",
    "finding.proof_late": "The newest proven backup was once {hours} old, although {wanted} was promised.",
    "action.proof_late": "See why proofs came late: runs that failed, or a machine that is too slow for them.",
    "finding.rto_broken": "A recovery rehearsal took {hours}, although {wanted} was promised.",
    "action.rto_broken": "See in its report which step takes longest, and make it faster; or promise less.",
    "finding.no_drill": "No recovery was rehearsed this month.",
    "action.no_drill": "Rehearse one (`backup-assets drill`).",
    "finding.not_copied": "Of {of} backups, {n} did not get to {store}.",
    "action.not_copied": "Fill those slots of the copy in Dagster again (a backfill): copies can be made up for.",
    "finding.lost": "Backups that are not in {store} any more, and nothing was written down that deleted them: {n}.",
    "action.lost": "Find out who or what removed them; copy them back from another store where it has them.",
    "finding.damaged": "Documents in {store} that cannot be read: {n}.",
    "action.damaged": "See which with `backup-assets list --store`, and fetch those sets from another store.",
    "finding.store_full": "{store} will probably be full around {at}.",
    "action.store_full": "Make room or keep fewer backups (`backup-assets prune` shows what goes).",
}

JAPANESE = {
    "title": "{database} のバックアップ",
    "month": "{month:%Y年%-m月}",
    "subtitle": "月次報告(環境: {env}、区分: {tier})",
    "so_far": "この月はまだ終わっていません。{at} 時点の状況です。",
    "tier.important": "重要",
    "tier.ordinary": "通常",
    "verdict.good": "良好",
    "verdict.attention": "要注意",
    "verdict.bad": "問題あり",
    "sentence.good": "予定された {n} 回のバックアップはすべて取得され、最新のものは実際の復元で検証済みです。"
    "月内で最も不利な時点でも、失われる作業は {gap}以内でした。",
    "sentence.more": "{sentence} ほかに {n} 件あります(下記)。",
    "tile.slots": "取得したバックアップ",
    "tile.slots.of": "予定 {n} 回、うち復元検証済み {proven} 回",
    "tile.rpo": "失われ得た作業の最大",
    "tile.wanted": "目標: {wanted}",
    "tile.proof": "最新の検証済みバックアップの最大経過時間",
    "tile.rto": "復旧訓練の最長時間",
    "next": "次にすること",
    "next.nothing": "特にありません。この状態を保ち、来月も報告を確認してください。",
    "promises": "目標と実績",
    "promise": "目標",
    "measured": "実績",
    "wanted": "目標値",
    "state": "状態",
    "state.met": "達成",
    "state.broken": "未達成",
    "state.unknown": "不明",
    "promise.rpo": "失われ得る作業(RPO): 正常なバックアップの最長間隔",
    "promise.verified": "復元で検証された最新バックアップの経過時間(最大)",
    "promise.drill": "合格した復旧訓練",
    "promise.rto": "復旧時間(RTO): 最も遅い訓練",
    "gap.where": "正常なバックアップの最長間隔は {since} から {until} まででした。",
    "gap.at_most": "この月には不明なバックアップがあるため、実際の間隔はこれより短い可能性があります。",
    "drills.count": "{n} 回",
    "calendar": "この月のバックアップ一覧",
    "calendar.text": "予定されたバックアップ 1 回につき印 1 つを、その日に示します。時刻は {zone} です。",
    "slot.verified": "取得し、復元で検証済み",
    "slot.taken": "取得済み、未検証",
    "slot.failed": "破損、または検証に失敗",
    "slot.missed": "取得されず",
    "slot.unknown": "現在は不明",
    "slot.due": "予定前",
    "legend": "印の意味",
    "weekdays": "月 火 水 木 金 土 日",
    "problem_slots": "欠落・破損・不明のバックアップ",
    "slot": "スロット",
    "set": "バックアップ",
    "what_became": "結果",
    "and_more": "ほか {n} 件",
    "sizes": "サイズと所要時間",
    "chart.size": "日ごとのバックアップのサイズ",
    "chart.seconds": "日ごとのバックアップの所要時間",
    "chart.text": "バックアップのある日 {n} 日。最小 {low}、最大 {high}、最後 {last}。",
    "day": "日",
    "backups": "回数",
    "size": "サイズ",
    "took": "所要時間",
    "proven": "検証",
    "copies": "コピー先",
    "restores": "復元と復旧訓練",
    "restores.text": "復元検証は {passed} 回合格、{failed} 回不合格。{read} 回、最後までの読み取りまたは"
    "チェックサムの照合に合格しました。",
    "drills.none": "今月、復旧訓練は行われませんでした。",
    "restores.none": "今月、実際の復元は行われませんでした。",
    "when": "日時",
    "what": "内容",
    "from_store": "取得元",
    "result": "結果",
    "drill": "復旧訓練",
    "restore": "{database} への復元",
    "passed": "合格",
    "not_passed": "不合格: {problem}",
    "stores": "保管先ごとのコピー",
    "store": "保管先",
    "where": "場所",
    "kind.local": "このマシン",
    "kind.folder": "フォルダー",
    "kind.s3": "バケット",
    "kind.ssh": "別ホスト",
    "off_site": "{kind}(遠隔地)",
    "got": "今月分の保管",
    "got.of": "{of} 件中 {n} 件",
    "still": "現在も保管",
    "latest": "コピーの最大遅れ",
    "today": "現在の保管量",
    "today.of": "{n} 件、{size}",
    "silent": "応答なし: {error}",
    "now": "現在の状況",
    "now.text": "この報告の作成時に測定しました。",
    "objective.rpo": "最新の正常なバックアップ",
    "objective.off_site": "最新の遠隔地コピー",
    "objective.verified": "最新の検証済みバックアップ",
    "objective.drill": "最後に合格した復旧訓練",
    "objective.rto": "復旧時間",
    "objective.three_copies": "コピー 3 つ",
    "objective.two_media": "媒体 2 種類",
    "objective.one_off_site": "遠隔地に 1 つ",
    "objective.store_space": "次回以降の空き容量",
    "objective.slots": "直近 2 週間のバックアップ",
    "objective.important_tables": "重要テーブルの週次バックアップ",
    "objective.infrastructure": "インフラ設定の書き出し",
    "objective.met": "正常",
    "objective.warn": "要確認",
    "objective.broken": "未達成",
    "objective.unknown": "不明",
    "retention": "削除と保持",
    "retention.text": "保持規則により {store} から {n} 件({size})を削除しました。いずれもより新しい検証済みの"
    "バックアップがあります。",
    "retention.none": "記録に残る削除はありません。",
    "reason": "理由",
    "reason.superseded": "同じ日の別のものを保持",
    "reason.outlived": "日次・週次・月次の保持対象外",
    "reason.incomplete": "不完全",
    "reason.failed": "検証に失敗",
    "holds": "保持規則にかかわらず保持するバックアップ",
    "holds.none": "保持指定されたバックアップはありません。",
    "growth": "増加の見込み",
    "growth.none": "予測にはバックアップの数または期間が足りません。",
    "growth.text": "{days} 日間の {n} 件から: バックアップ 1 件は月に {likely} 増加({low} ~ {high})。",
    "growth.in_days": "{n} 日後",
    "growth.today": "月末",
    "growth.range": "{low} ~ {high}",
    "growth.likely": "見込み",
    "growth.between": "範囲",
    "growth.when": "時期",
    "growth.chart": "{store} の保管量",
    "growth.full": "{store} の空きは {free} です。満杯になる時期の見込みは {likely}、最も早くて {earliest}、"
    "最も遅くて {latest} です。",
    "growth.not_full": "{store} の空きは {free} です。これまでの増加では 2 年以内に満杯になりません。",
    "growth.never": "予測不能",
    "growth.method": "最長で直近 90 日に当てはめた直線です。範囲には期間の前半・後半それぞれの直線も含みます。"
    "保持規則による削除がまだ始まっていない間は、実際より早く満杯になるように見えます。",
    "limits": "この報告で分からないこと",
    "limits.made": "{at} に、保管先のバックアップとその記録、および削除の記録だけから作成しました。"
    "時刻は {zone} です。",
    "limits.unknown": "予定されたバックアップのうち {n} 件は現在存在せず、記録もありません。取得後に削除されたか、"
    "取得されなかったかは分かりません。",
    "limits.notes": "削除の記録のうち {n} 件は破損していて読めません。",
    "limits.silent": "{store} が応答しなかったため、そこだけにあるものは数えていません。",
    "limits.bucket": "バケットの有効期限による削除は、ここに記録が残りません。",
    "limits.hand": "手作業による削除は記録が残りません。",
    "none": "–",
    "finding.no_slots": "この月については何も分かりません。バックアップも予定もありません。",
    "action.no_slots": "スケジュールが動いているか、保管先が正しいかを確認してください。",
    "finding.no_set": "この月の正常なバックアップは 1 件もありません。",
    "action.no_set": "今日バックアップを取り(`backup-assets backup`)、取得されなかった原因を調べてください。",
    "finding.rpo_broken": "{since} から {hours}の間、正常なバックアップがありませんでした(許容は {wanted})。",
    "action.rpo_broken": "その時間帯の実行を Dagster で確認し、警報が担当者に届くようにしてください。",
    "finding.no_proof": "この月のバックアップは 1 件も復元で検証されていません。",
    "action.no_proof": "最新のものを検証し(`backup-assets verify`)、毎日の検証が動かない原因を調べてください。",
    "finding.failed_last": "月末のバックアップが破損しているか、検証に失敗しています({slot} 以降)。",
    "action.failed_last": "直ちに取得・検証し、最後の正常なものを保持してください(`backup-assets hold`)。",
    "finding.drill_failed": "最後の復旧訓練({at}、{store} から)は不合格でした。",
    "action.drill_failed": "訓練の報告を読み、原因を取り除いて再度訓練してください(`backup-assets drill`)。",
    "finding.store_silent": "報告の作成時、保管先 {store} が応答しませんでした。",
    "action.store_silent": "原因を調べ(`backup-assets doctor`)、報告を作り直してください。",
    "finding.objective_broken": "現在、目標が守られていません: {objective}。",
    "action.objective_broken": "`backup-assets status` の説明を確認してください。",
    "finding.missed": "予定された {n} 回のバックアップが取得されませんでした(最初: {slot})。",
    "action.missed": "その日の実行を確認してください。過去のバックアップを後から取ることはできません。",
    "finding.unknown": "予定された {n} 回のバックアップについては、現在何も分かりません。",
    "action.unknown": "報告は月末の直後に作成し、保存してください。",
    "finding.failed": "{n} 件のバックアップが破損しているか、検証に失敗しました(最後: {slot})。"
    "より新しいものは正常です。",
    "action.failed": "検証結果を確認し(`backup-assets show`)、ディスクを点検してください。",
    "finding.unproven": "{n} 件のバックアップは取得されましたが、復元で検証されていません。",
    "action.unproven": "検証するか(`backup-assets verify`)、毎日の検証が動かなかった原因を調べてください。",
    "finding.proof_late": "最新の検証済みバックアップの経過時間が {hours} に達しました(目標は {wanted})。",
    "action.proof_late": "検証が遅れた原因(失敗した実行、マシンの性能不足)を調べてください。",
    "finding.rto_broken": "復旧訓練に {hours} かかりました(目標は {wanted})。",
    "action.rto_broken": "訓練の報告で最も長い工程を確認して短縮するか、目標を見直してください。",
    "finding.no_drill": "今月は復旧訓練が行われませんでした。",
    "action.no_drill": "復旧訓練を行ってください(`backup-assets drill`)。",
    "finding.not_copied": "{of} 件中 {n} 件のバックアップが {store} に届いていません。",
    "action.not_copied": "Dagster でコピーの該当スロットをバックフィルしてください。コピーは後からでも作れます。",
    "finding.lost": "{n} 件のバックアップが、削除の記録なしに {store} から消えています。",
    "action.lost": "原因を調べ、別の保管先にあれば戻してください。",
    "finding.damaged": "{store} に読めない文書が {n} 件あります。",
    "action.damaged": "`backup-assets list --store` で確認し、別の保管先から取り直してください。",
    "finding.store_full": "{store} は {at} ごろに満杯になる見込みです。",
    "action.store_full": "空きを増やすか、保持数を減らしてください(`backup-assets prune` で確認できます)。",
}
TABLES: dict[Language, dict[str, str]] = {"en": ENGLISH, "ja": JAPANESE}
#: Between a number and its unit no line ends.
_NBSP = "\u00a0"
_UNITS_JA = {"h": "時間", "min": "分", "s": "秒"}


@dataclass(frozen=True)
class Words:
    """The words of one language; moments are told in one zone."""

    language: Language
    timezone: str

    def say(self, key: str, **values: object) -> str:
        """Return the sentence of a key with its values."""
        return TABLES[self.language][key].format(**values)

    def time(self, moment: datetime) -> str:
        """Return day and minute of a moment."""
        return f"{moment.astimezone(ZoneInfo(self.timezone)):%Y-%m-%d %H:%M}"

    def day(self, moment: datetime | date) -> str:
        """Return the day of a moment."""
        local = moment.astimezone(ZoneInfo(self.timezone)) if isinstance(moment, datetime) else moment
        return f"{local:%Y-%m-%d}"

    def hours(self, hours: float) -> str:
        """Return a time: in days from two days on, else in its two largest units."""
        if hours >= 48:
            return f"{hours / 24:.1f}".removesuffix(".0") + _NBSP + ("days" if self.language == "en" else "日")
        text = duration(round(hours * 60) * 60 if hours >= 1 else hours * 3600)
        if self.language == "en":
            return text.replace(" ", _NBSP)
        return units_in_japanese(text, _NBSP)

    def seconds(self, seconds: float) -> str:
        """Return a time that is given in seconds."""
        return self.hours(seconds / 3600)

    def bytes(self, count: float) -> str:
        """Return a size in a decimal unit."""
        return human_bytes(count).replace(" ", _NBSP)


def units_in_japanese(text: str, space: str) -> str:
    """Return a duration such as ``1 h 12 min`` with Japanese units and another space."""
    parts = text.split()
    return space.join(f"{number}{space}{_UNITS_JA[unit]}" for number, unit in zip(parts[::2], parts[1::2], strict=True))


def names_in(sentence: str) -> set[str]:
    """Return the names of the values that a sentence needs."""
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}
