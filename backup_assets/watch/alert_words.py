"""How do measurements and alerts say it, in English and in Japanese?"""

from __future__ import annotations

from dataclasses import dataclass

from backup_assets.restore.drill_report import duration
from backup_assets.settings import Settings
from backup_assets.watch.report_words import Language, units_in_japanese

#: What comes from an error, and what is a name, is put in as it is; so is a value that was said by another key before.
ENGLISH = {
    # What is promised, and what was measured.
    "promised": "{time} promised",
    "unheard": "; no answer from {names}",
    "rpo": "the newest complete set was taken {age} ago ({where}); {promised}{unheard}",
    "rpo.none": "there is no complete set{unheard}: take a backup: `backup-assets backup`",
    "rpo.older": "{text}: take a backup: `backup-assets backup`, and look at the runs that failed",
    "rpo.due": "{text}; the backup of the slot {slot} has been due for {time}",
    "rpo.seldom": "{text}; a backup is due only every {time}: `schedule.every`",
    "late": "the newest complete set in {store} was taken {age} ago; {promised}",
    "late.none": "there is no complete set in {store}",
    "off_site": "the newest complete set off-site was taken {age} ago ({store}); {promised}{silent}",
    "off_site.none": "there is no complete set off-site ({names}){silent}: run the copies of the last slots",
    "off_site.presumed": "as recorded here, a set taken {age} ago was copied to {store}{silent}",
    "off_site.silent": "; {store} does not answer: {error}",
    "off_site.older": "{text}: look at the copies that failed",
    "off_site.waiting": "{text}; {set} is not there yet",
    "verified": "the newest set that is proven by a restore was taken {age} ago and proven {at} ago{failed}",
    "verified.none": "no set is proven by a restore{failed}: prove one with `backup-assets verify`",
    "verified.failed": "; {set} failed its verification",
    "verified.future": "; the proof of {set} does not count: it bears the time {at}, which is to come: set the clock "
    "of the host that made it, and verify it again",
    "verified.older": "{text}; {promised}: look at the checks `restored`",
    "drill.alone": "no further store is configured, so that the loss of this machine cannot be rehearsed",
    "drill.none": "no restore from a further store was rehearsed, as far as is known: `backup-assets drill`",
    "drill.failed": "the last drill, {age} ago from {store}, failed: {problems}",
    "drill.passed": "the last drill, {age} ago from {store}, passed in {time}",
    "drill.older": "{text}; one is due every month: `backup-assets drill`",
    "drill.future": "{text}; the drill of {set} does not count: it bears the time {at}, which is to come: set the "
    "clock of the host that made it, and drill again",
    "rto.drilled": "the last drill took {time}; {promised}",
    "rto.none": "nothing was restored yet, so that nobody knows how long it takes; {promised}",
    "rto.forecast": "a restore would take about {time} by the {what} of {day}; {promised}",
    "rto.scaled": "a restore would take about {time} by the {what} of {day}, {scale:.1f} times its size; {promised}",
    "rto.drill": "drill",
    "rto.restore": "restore",
    "rto.trial": "trial restore (fetching not included)",
    "store_space": "{store} has {free} free, room for {n} more sets",
    "store_space.none": "no store with a limit holds a set yet",
    "store_space.little": "{text}: free some space, or keep fewer sets (docs/retention.md)",
    "slots": "every slot that is over has a complete set",
    "slots.missed": "{n} slots are over without a complete set: {shown}{unheard}",
    "three_copies": "the live database{others}, counting copies of at most {hours:.0f} h{together}",
    "three_copies.other": ", {store}",
    "two_media": "{stores}, counting copies of at most {hours:.0f} h{together}",
    "one_off_site": "off-site: {stores}, counting copies of at most {hours:.0f} h",
    "copies.together": "; {why}",
    "copies.none": "none",
    "copies.presumed": "{store} as last known",
    "copies.account": "account {account}",
    "copies.wanted": "{text}; {wanted} wanted: see docs/off-site.md",
    "important_tables": "the newest set of the important tables was taken {age} ago ({where}); {promised}",
    "important_tables.none": "no set of the important tables was taken yet: "
    "`backup-assets backup --important-tables` takes one now",
    "important_tables.older": "{text}: `backup-assets backup --important-tables` takes one now",
    "important_tables.unknown": "when the important tables were taken last is not known: local does not answer: "
    "{error}",
    "infrastructure": "the infrastructure was last written down {age} ago ({where}); {promised}",
    "infrastructure.none": "the infrastructure was not written down yet: launch its job for the current slot",
    "infrastructure.older": "{text}: launch its job for the current slot",
    "infrastructure.unknown": "when the infrastructure was written down last is not known: local does not answer: "
    "{error}",
    "beside.behind": "{text}; not copied to {names}: materialize the copy there for the slots that are missing",
    # Titles of what is told, and what to do about it.
    "rpo.title.warn": "the newest backup is about to miss the recovery point objective",
    "rpo.title.error": "the newest backup is older than the recovery point objective",
    "rpo.remedy": "look at the last runs, then take a backup: `backup-assets backup`",
    "verified.title.warn": "the newest set is not proven by a restore",
    "verified.title.error": "the last proof by a restore is too old",
    "verified.remedy": "`backup-assets verify latest` proves the newest set, and says what is wrong with it otherwise",
    "drill.title.warn": "a restore drill is due",
    "drill.title.error": "the restore drill failed or is overdue",
    "drill.remedy": "`backup-assets drill`",
    "rto.title.warn": "a restore would take longer than the recovery time objective",
    "rto.title.error": "the last drill took longer than the recovery time objective",
    "rto.remedy": "see which stage of the last drill takes long (docs/drill.md), or agree on another objective",
    "store_space.title.warn": "a store is nearly full",
    "store_space.title.error": "a store has no room for the next set",
    "store_space.remedy": "free space or enlarge the disk; `backup-assets prune` shows what the retention would remove",
    "three_copies.title.warn": "three copies are not certain",
    "three_copies.title.error": "there are fewer than three copies",
    "three_copies.remedy": "`backup-assets status` shows which one is missing",
    "two_media.title.warn": "copies on two media are not certain",
    "two_media.title.error": "the copies are not on two media",
    "two_media.remedy": "`backup-assets status` shows where they are",
    "one_off_site.title.warn": "a copy off-site is not certain",
    "one_off_site.title.error": "there is no young copy off-site",
    "one_off_site.remedy": "see to the store that is off-site, or configure one (docs/off-site.md)",
    "run_failed.title": "the run of {subject} failed",
    "run_failed.title.slot": "the run of {subject} failed for the slot {slot}",
    "run_failed.remedy": "open the run, mend the cause, and run it again",
    "run_failed.link": "run {run}",
    "run_failed.ended.title": "the run of {subject} failed, and a later one succeeded",
    "run_failed.ended.title.slot": "the run of {subject} failed for the slot {slot}, and a later one succeeded",
    "run_failed.ended.remedy": "open the run that failed to see why; if the one that succeeded was for another slot, "
    "run it again for its own",
    "check_failed.title": "the check {subject} failed",
    "check_failed.title.slot": "the check {subject} failed for the slot {slot}",
    "check_failed.remedy": "open the run, mend the cause, and run it again",
    "check_failed.ended.title": "the check {subject} failed, and has passed since",
    "check_failed.ended.title.slot": "the check {subject} failed for the slot {slot}, and has passed since",
    "check_failed.ended.remedy": "open the run in which it failed: what it found may still be so, although the next "
    "one passed",
    "slot_missed.title": "the slot {slot} has no complete set, and is over",
    "slot_missed.cause": "no backup of that time was finished; see its run, if there is one",
    "slot_missed.remedy": "a past slot is not filled with today's data; make sure that the next backup runs",
    "store_unreachable.title": "the store {store} did not answer",
    "store_unreachable.remedy": "`backup-assets doctor` says what it needs",
    "copy_late.title": "the copy in {store} is late",
    "copy_late.remedy": "look at the last run of the copy; materialize its asset for the slots that are missing",
    "sets_damaged.title": "{n} manifests or records in {store} cannot be read",
    "sets_damaged.cause": "they are damaged, or were written by a newer version",
    "sets_damaged.remedy": "`backup-assets list --store {store}` names them, and those of the infrastructure "
    "`backup-assets aws infrastructure list --store {store}`",
    "sets_incomplete.title": "{n} sets in {store} are gone, or have lost files",
    "sets_incomplete.lost": "{n} have lost files ({names})",
    "sets_incomplete.vanished": "{n} that were copied there are gone, and the retention did not delete them ({names})",
    "sets_incomplete.remedy.further": "`backup-assets list --store {store}` shows what is there; see who, or which "
    "rule, deletes there, and materialize the copies of these slots again",
    "sets_incomplete.remedy.local": "`backup-assets list` says what is missing; see who deletes there. Restore these "
    "sets from another store, should they be needed",
    "servers_mixed.title": "{n} servers are backed up into {store} under one name",
    "servers_mixed.one": "the set {set} is of the server {server}",
    "servers_mixed.remedy": "`backup-assets show --store {store}` with the id of a set says what it holds; give the "
    "installation that is not meant another name or env. Until then `latest` may be the set of either",
    "important_tables.title.warn": "the weekly set of the important tables is not copied everywhere",
    "important_tables.title.error": "there is no weekly set of the important tables that is young enough",
    "important_tables.remedy": "see whether {database}_important_tables_schedule is on and what its last runs say, "
    "then `backup-assets backup --important-tables`",
    "infrastructure.title.warn": "the document of the infrastructure is not copied everywhere",
    "infrastructure.title.error": "the infrastructure is not written down any more",
    "infrastructure.remedy": "see whether {database}_infrastructure_schedule is on and what its last runs say, then "
    "launch {database}_infrastructure_job for the current slot",
    "rds_unwatched.title": "nobody looks at the protection in RDS",
    "rds_unwatched.cause": "the last run of {job} ended {age} ago; there is one every {every}",
    "rds_unwatched.none": "no run of {job} has ended yet; there is one every {every}",
    "rds_unwatched.future": "the last run of {job} bears a time in the future; there is one every {every}",
    "rds_unwatched.remedy": "see in Dagster, under Automation, whether {sensor} is on and why its ticks fail, and "
    "whether this machine's clock is right; then launch {job}",
    "retention_blocked.title": "the retention deletes nothing in {store}",
    "retention_blocked.remedy": "`backup-assets prune --store {store}` says what each set waits for "
    "(docs/retention.md)",
    "blocked.clock_skew": "{text}",
    "blocked.no_complete_set": "{text}",
    "blocked.older_than_rpo": "{text}",
    "blocked.verification_failed": "{text}",
    "blocked.unverified": "{text}",
    "blocked.too_large_a_share": "{text}",
    "hold_expires.title": "a held set will expire in {store}",
    "hold_expires.cause": "{set} is held {until}, and the lifecycle rules of {store} remove {what} around {day}",
    "hold_expires.itself": "it",
    "hold_expires.needed": "{set}, which it cannot be restored without,",
    "hold_expires.for_ever": "without an end",
    "hold_expires.until": "until {day}",
    "hold_expires.remedy": "repeat `backup-assets hold` with a role that may tag objects, or copy the set elsewhere "
    "before then (docs/retention.md)",
    "encryption_key.title": "the encryption needs attention",
    "encryption_key.expires": "the key {key} expires on {day}: backups would stop then",
    "encryption_key.soon": "the key {key} expires soon: backups would stop then",
    "encryption_key.extend": "let its owner extend it, and import the public key again",
    "encryption_key.remedy": "`backup-assets doctor` says more",
    "not_measured.title": "the stores could not be looked at",
    "not_measured.cause": "the stores of {database} have not answered for {n} minutes",
    "not_measured.safe": "What is safe is not known.",
    "not_measured.remedy": "`backup-assets status` and `backup-assets doctor` say more",
    "not_measured.facts.title": "the retention, the holds and the encryption keys could not be looked at",
    "not_measured.facts.cause": "looking at them for {database} has not ended for {n} minutes",
    "not_measured.facts.remedy": "`backup-assets prune` and `backup-assets doctor` say more",
    "runs_unread.title": "the runs of Dagster cannot be read",
    "runs_unread.remedy": "see whether Dagster's storage (DAGSTER_HOME, or its PostgreSQL) can be reached",
    "channel_failed.title": "the channel {channel} does not take alerts",
    "channel_failed.remedy": "`backup-assets alert-test` tries it; correct its address in watch.channels (ALERT_URLS)",
    "heartbeat_failed.title": "the heartbeat is not taken",
    "heartbeat_failed.remedy": "correct its address in watch.heartbeat (HEARTBEAT_URL), or see to the service",
    # What is safe.
    "safe.proven": "{set} is proven by a restore",
    "safe.newer": "{proven}; {set} is complete and not proven yet",
    "safe.complete": "{set} is complete; no set is proven by a restore",
    "safe.unknown": "not known: {stores} did not answer, and there is no complete set elsewhere",
    "safe.nothing": "nothing: there is no complete set in any store",
    "safe.set": "{set} (slot {slot}, {age} old, in {stores})",
    "and": " and ",
    "listed": ", ",
    "sentences": "; ",
    # The letter.
    "letter.more": "{subject} (and {n} more)",
    "letter.brief_more": "- and {n} more: `backup-assets status`",
    "letter.new": "{title}",
    "letter.worse": "now worse: {title}",
    "letter.reminder": "still: {title}",
    "letter.over": "over: {title}",
    "letter.mark.over": "OVER: {text}",
    "letter.mark.warn": "WARNING: {text}",
    "letter.mark.error": "PROBLEM: {text}",
    "letter.database": "database {name}",
    "letter.watch": "the watch itself",
    "letter.slot": "{about}, slot {slot}",
    "letter.since": "Of: {about}, since {since} ({time})",
    "letter.lasted": "Of: {about}, from {since} to {until} ({time})",
    "letter.was": "It was: {cause}",
    "letter.because": "Because: {cause}",
    "letter.no_reason": "no reason is known",
    "letter.safe": "Safe: {safe}",
    "letter.remedy": "To do: {remedy}",
    "letter.link": "See: {link}",
    "trial.subject": "this is a test",
    "trial.body": "The watch over the backups of {names} can reach you here. Nothing is wrong; nothing is to be "
    "done.\nSent {at}.",
}

JAPANESE = {
    "promised": "目標は {time}以内です",
    "unheard": "。{names} は応答していません",
    "rpo": "最新の正常なバックアップは {age}前のものです({where})。{promised}{unheard}",
    "rpo.none": "正常なバックアップが 1 件もありません{unheard}",
    "rpo.older": "{text}",
    "rpo.due": "{text}。スロット {slot} のバックアップは予定時刻を {time} 過ぎても完了していません",
    "rpo.seldom": "{text}。バックアップの予定は {time} ごとで、目標より間隔が空いています(`schedule.every`)",
    "late": "{store} にある最新の正常なバックアップは {age}前のものです。{promised}",
    "late.none": "{store} に正常なバックアップが 1 件もありません",
    "off_site": "遠隔地にある最新の正常なバックアップは {age}前のものです({store})。{promised}{silent}",
    "off_site.none": "遠隔地({names})に正常なバックアップが 1 件もありません{silent}",
    "off_site.presumed": "記録によれば、{age}前のバックアップが {store} にコピーされています{silent}",
    "off_site.silent": "。{store} は応答していません: {error}",
    "off_site.older": "{text}。失敗したコピーを確認してください",
    "off_site.waiting": "{text}。{set} はまだ届いていません",
    "verified": "復元で検証された最新のバックアップは {age}前に取得、{at}前に検証されたものです{failed}",
    "verified.none": "復元で検証されたバックアップが 1 件もありません{failed}",
    "verified.failed": "。{set} は検証に失敗しました",
    "verified.future": "。{set} の検証記録は時刻が未来の {at} であるため、証明として数えません。"
    "検証したホストの時計を合わせ、もう一度検証してください",
    "verified.older": "{text}。{promised}",
    "drill.alone": "別の保管先が設定されていないため、このマシンの喪失に備えた復旧訓練ができません",
    "drill.none": "別の保管先からの復旧訓練は、記録の残る限り一度も行われていません",
    "drill.failed": "前回の復旧訓練({age}前、{store} から)は不合格でした: {problems}",
    "drill.passed": "前回の復旧訓練({age}前、{store} から)は {time} で合格しました",
    "drill.older": "{text}。訓練は毎月必要です",
    "drill.future": "{text}。{set} の訓練記録は時刻が未来の {at} であるため数えません。訓練したホストの時計を"
    "合わせ、もう一度訓練してください",
    "rto.drilled": "前回の復旧訓練に {time} かかりました。{promised}",
    "rto.none": "まだ一度も復元していないため、所要時間は分かりません。{promised}",
    "rto.forecast": "復元には約 {time} かかる見込みです({day} の{what}による)。{promised}",
    "rto.scaled": "復元には約 {time} かかる見込みです({day} の{what}による。現在のサイズはその {scale:.1f} 倍)。"
    "{promised}",
    "rto.drill": "復旧訓練",
    "rto.restore": "復元",
    "rto.trial": "復元検証(ダウンロードを含まない)",
    "store_space": "{store} の空きは {free} で、あと {n} 件分です",
    "store_space.none": "容量に上限のある保管先には、まだバックアップがありません",
    "store_space.little": "{text}",
    "slots": "終了したスロットにはすべて正常なバックアップがあります",
    "slots.missed": "終了したスロットのうち {n} 件に正常なバックアップがありません: {shown}{unheard}",
    "three_copies": "稼働中のデータベース{others}({hours:.0f} 時間以内のコピーだけを数えます){together}",
    "three_copies.other": "、{store}",
    "two_media": "{stores}({hours:.0f} 時間以内のコピーだけを数えます){together}",
    "one_off_site": "遠隔地: {stores}({hours:.0f} 時間以内のコピーだけを数えます)",
    "copies.together": "。{why}",
    "copies.none": "なし",
    "copies.presumed": "{store}(最後に確認した状態)",
    "copies.account": "アカウント {account}",
    "copies.wanted": "{text}。{wanted} つ必要です",
    "important_tables": "重要テーブルの最新のバックアップは {age}前のものです({where})。{promised}",
    "important_tables.none": "重要テーブルのバックアップがまだ一度も取られていません",
    "important_tables.older": "{text}",
    "important_tables.unknown": "local が応答しないため、重要テーブルの最新のバックアップは分かりません: {error}",
    "infrastructure": "インフラ設定が最後に書き出されたのは {age}前です({where})。{promised}",
    "infrastructure.none": "インフラ設定がまだ一度も書き出されていません",
    "infrastructure.older": "{text}",
    "infrastructure.unknown": "local が応答しないため、インフラ設定がいつ書き出されたか分かりません: {error}",
    "beside.behind": "{text}。{names} へのコピーがありません。足りないスロットのコピーをマテリアライズしてください",
    "rpo.title.warn": "最新のバックアップがまもなく目標復旧時点(RPO)に間に合わなくなります",
    "rpo.title.error": "最新のバックアップが目標復旧時点(RPO)より古くなっています",
    "rpo.remedy": "直近の実行を確認してから、バックアップを取ってください(`backup-assets backup`)",
    "verified.title.warn": "最新のバックアップが復元で検証されていません",
    "verified.title.error": "復元による最後の検証が古すぎます",
    "verified.remedy": "`backup-assets verify latest` で最新のバックアップを検証してください。問題があれば内容が"
    "表示されます",
    "drill.title.warn": "復旧訓練の時期です",
    "drill.title.error": "復旧訓練が不合格か、期限を過ぎています",
    "drill.remedy": "`backup-assets drill` で復旧訓練を行ってください",
    "rto.title.warn": "復元にかかる時間が目標復旧時間(RTO)を超える見込みです",
    "rto.title.error": "前回の復旧訓練が目標復旧時間(RTO)を超えました",
    "rto.remedy": "前回の訓練で時間のかかった工程を確認するか(docs/drill.md)、目標を見直してください",
    "store_space.title.warn": "保管先の空き容量が残りわずかです",
    "store_space.title.error": "保管先に次のバックアップの空き容量がありません",
    "store_space.remedy": "空きを増やすか、ディスクを拡張してください。保持規則で削除されるものは "
    "`backup-assets prune` で確認できます",
    "three_copies.title.warn": "コピーが 3 つあるか確認できません",
    "three_copies.title.error": "コピーが 3 つありません",
    "three_copies.remedy": "どれが足りないかは `backup-assets status` で確認できます",
    "two_media.title.warn": "2 種類の媒体にあるか確認できません",
    "two_media.title.error": "コピーが 2 種類の媒体にありません",
    "two_media.remedy": "コピーの場所は `backup-assets status` で確認できます",
    "one_off_site.title.warn": "遠隔地のコピーがあるか確認できません",
    "one_off_site.title.error": "遠隔地に新しいコピーがありません",
    "one_off_site.remedy": "遠隔地の保管先を確認するか、設定してください(docs/off-site.md)",
    "run_failed.title": "{subject} の実行が失敗しました",
    "run_failed.title.slot": "{subject} の実行が失敗しました(スロット {slot})",
    "run_failed.remedy": "実行を開いて原因を取り除き、もう一度実行してください",
    "run_failed.link": "実行 {run}",
    "run_failed.ended.title": "{subject} の実行が失敗し、その後の実行は成功しました",
    "run_failed.ended.title.slot": "{subject} の実行が失敗し、その後の実行は成功しました(スロット {slot})",
    "run_failed.ended.remedy": "失敗した実行を開いて原因を確認してください。成功したのが別のスロットの実行であれば、"
    "失敗したスロットでもう一度実行してください",
    "check_failed.title": "チェック {subject} が失敗しました",
    "check_failed.title.slot": "チェック {subject} が失敗しました(スロット {slot})",
    "check_failed.remedy": "実行を開いて原因を取り除き、もう一度実行してください",
    "check_failed.ended.title": "チェック {subject} が失敗し、その後は合格しました",
    "check_failed.ended.title.slot": "チェック {subject} が失敗し、その後は合格しました(スロット {slot})",
    "check_failed.ended.remedy": "失敗した実行を開いて確認してください。次の回に合格しても、見つかった問題が解消したと"
    "は限りません",
    "slot_missed.title": "スロット {slot} は正常なバックアップがないまま終了しました",
    "slot_missed.cause": "その時刻のバックアップは完了しませんでした。実行があれば内容を確認してください",
    "slot_missed.remedy": "過去のスロットを現在のデータで埋めることはありません。次のバックアップが動くことを"
    "確認してください",
    "store_unreachable.title": "保管先 {store} が応答しません",
    "store_unreachable.remedy": "必要なことは `backup-assets doctor` で確認できます",
    "copy_late.title": "{store} へのコピーが遅れています",
    "copy_late.remedy": "コピーの直近の実行を確認し、足りないスロットのアセットをマテリアライズしてください",
    "sets_damaged.title": "{store} に読めないマニフェストまたは記録が {n} 件あります",
    "sets_damaged.cause": "破損しているか、より新しい版で書かれています",
    "sets_damaged.remedy": "どれかは `backup-assets list --store {store}`(インフラ設定のものは "
    "`backup-assets aws infrastructure list --store {store}`)で確認できます",
    "sets_incomplete.title": "{store} のバックアップ {n} 件が失われたか、ファイルが欠けています",
    "sets_incomplete.lost": "{n} 件でファイルが欠けています({names})",
    "sets_incomplete.vanished": "コピー済みの {n} 件が、保持規則による削除の記録なしに消えています({names})",
    "sets_incomplete.remedy.further": "残っているものは `backup-assets list --store {store}` で確認できます。何が"
    "削除しているかを調べ、これらのスロットのコピーをもう一度マテリアライズしてください",
    "sets_incomplete.remedy.local": "何が欠けているかは `backup-assets list` で確認できます。何が削除しているかを調べて"
    "ください。これらが必要なときは、別の保管先から復元できます",
    "servers_mixed.title": "{n} 台のサーバが同じ名前で {store} にバックアップされています",
    "servers_mixed.one": "バックアップ {set} はサーバ {server} のものです",
    "servers_mixed.remedy": "中身は `backup-assets show --store {store}` とバックアップの ID で確認できます。意図しない"
    "側に別の name か env を設定してください。それまで `latest` はどちらのものにもなりえます",
    "important_tables.title.warn": "重要テーブルの週次バックアップが一部の保管先にコピーされていません",
    "important_tables.title.error": "重要テーブルの週次バックアップが古すぎるか、ありません",
    "important_tables.remedy": "{database}_important_tables_schedule が動いているかと直近の実行を確認してから、"
    "`backup-assets backup --important-tables` で取ってください",
    "infrastructure.title.warn": "インフラ設定の文書が一部の保管先にコピーされていません",
    "infrastructure.title.error": "インフラ設定が書き出されていません",
    "infrastructure.remedy": "{database}_infrastructure_schedule が動いているかと直近の実行を確認してから、現在の"
    "スロットで {database}_infrastructure_job を実行してください",
    "rds_unwatched.title": "RDS の保護設定が確認されていません",
    "rds_unwatched.cause": "{job} の最後の実行が終わったのは {age}前です({every}ごとに 1 回あるはずです)",
    "rds_unwatched.none": "{job} の実行がまだ一度も終わっていません({every}ごとに 1 回あるはずです)",
    "rds_unwatched.future": "{job} の最後の実行の時刻が未来です({every}ごとに 1 回あるはずです)",
    "rds_unwatched.remedy": "Dagster の Automation で {sensor} が動いているか、失敗していればその理由と、マシンの時計を"
    "確認してから、{job} を実行してください",
    "retention_blocked.title": "保持規則による削除が {store} で止まっています",
    "retention_blocked.remedy": "何を待っているかは `backup-assets prune --store {store}` で確認できます"
    "(docs/retention.md)",
    "blocked.clock_skew": "未来の時刻のバックアップがあります。マシンの時計を確認してください",
    "blocked.no_complete_set": "正常なバックアップが 1 件もありません。先にバックアップを取ってください",
    "blocked.older_than_rpo": "最新のバックアップが目標復旧時点(RPO)より古いため、先に新しいバックアップが必要です",
    "blocked.verification_failed": "最新のバックアップが検証に失敗しました。新しく取得して検証してください",
    "blocked.unverified": "復元で検証されていない状態が続いています。最新のバックアップを検証してください",
    "blocked.too_large_a_share": "一度に削除される割合が上限を超えます。一覧を確認してから、今回だけ許可してください",
    "hold_expires.title": "保持指定されたバックアップが {store} で期限切れになります",
    "hold_expires.cause": "{set} は{until}保持されていますが、{store} のライフサイクル規則により{what} {day} ごろに"
    "削除されます",
    "hold_expires.itself": "",
    "hold_expires.needed": "、復元に必要な {set} が",
    "hold_expires.for_ever": "無期限で",
    "hold_expires.until": " {day} まで",
    "hold_expires.remedy": "タグを付けられる権限で `backup-assets hold` をもう一度実行するか、それまでに別の場所へ"
    "コピーしてください(docs/retention.md)",
    "encryption_key.title": "暗号化の設定に対処が必要です",
    "encryption_key.expires": "鍵 {key} は {day} に有効期限が切れ、以後バックアップが止まります",
    "encryption_key.soon": "鍵 {key} はまもなく有効期限が切れ、以後バックアップが止まります",
    "encryption_key.extend": "鍵の所有者が有効期限を延長し、公開鍵を再度インポートしてください",
    "encryption_key.remedy": "詳細は `backup-assets doctor` で確認できます",
    "not_measured.title": "保管先を確認できませんでした",
    "not_measured.cause": "{database} の保管先が {n} 分間応答していません",
    "not_measured.safe": "何が安全かは分かりません。",
    "not_measured.remedy": "詳細は `backup-assets status` と `backup-assets doctor` で確認できます",
    "not_measured.facts.title": "保持規則、保留、暗号鍵の状態を確認できませんでした",
    "not_measured.facts.cause": "{database} についての確認が {n} 分経っても終わっていません",
    "not_measured.facts.remedy": "詳細は `backup-assets prune` と `backup-assets doctor` で確認できます",
    "runs_unread.title": "Dagster の実行記録を読めません",
    "runs_unread.remedy": "Dagster の記憶域(DAGSTER_HOME、またはその PostgreSQL)に接続できるか確認してください",
    "channel_failed.title": "通知先 {channel} に警報を送れません",
    "channel_failed.remedy": "`backup-assets alert-test` で試し、watch.channels(ALERT_URLS)の宛先を直してください",
    "heartbeat_failed.title": "ハートビートが受け付けられません",
    "heartbeat_failed.remedy": "watch.heartbeat(HEARTBEAT_URL)の宛先を直すか、そのサービスを確認してください",
    "safe.proven": "{set}は復元で検証済みです",
    "safe.newer": "{proven}。{set}は正常ですが、まだ検証されていません",
    "safe.complete": "{set}は正常です。復元で検証されたバックアップはありません",
    "safe.unknown": "不明です。{stores} が応答せず、ほかに正常なバックアップがありません",
    "safe.nothing": "ありません。どの保管先にも正常なバックアップがありません",
    "safe.set": "{set}(スロット {slot}、{age}前、保管先 {stores})",
    "and": "、",
    "listed": "、",
    "sentences": "。",
    "letter.more": "{subject}(ほか {n} 件)",
    "letter.brief_more": "- ほか {n} 件: `backup-assets status`",
    "letter.new": "{title}",
    "letter.worse": "悪化: {title}",
    "letter.reminder": "継続中: {title}",
    "letter.over": "解消: {title}",
    "letter.mark.over": "【解消】{text}",
    "letter.mark.warn": "【注意】{text}",
    "letter.mark.error": "【障害】{text}",
    "letter.database": "データベース {name}",
    "letter.watch": "監視そのもの",
    "letter.slot": "{about}、スロット {slot}",
    "letter.since": "対象: {about}、{since} から({time})",
    "letter.lasted": "対象: {about}、{since} から {until} まで({time})",
    "letter.was": "内容: {cause}",
    "letter.because": "原因: {cause}",
    "letter.no_reason": "原因は分かっていません",
    "letter.safe": "無事なもの: {safe}",
    "letter.remedy": "対処: {remedy}",
    "letter.link": "参照: {link}",
    "trial.subject": "これは試験です",
    "trial.body": "{names} のバックアップの監視は、ここに通知できます。問題はなく、対処は不要です。\n送信: {at}。",
}
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
