"""Which Japanese names, addresses and phrases does the sample ERP consist of?"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

_FAMILY = (
    ("佐藤", "サトウ", "sato"), ("鈴木", "スズキ", "suzuki"), ("高橋", "タカハシ", "takahashi"),
    ("田中", "タナカ", "tanaka"), ("伊藤", "イトウ", "ito"), ("渡辺", "ワタナベ", "watanabe"),
    ("山本", "ヤマモト", "yamamoto"), ("中村", "ナカムラ", "nakamura"), ("小林", "コバヤシ", "kobayashi"),
    ("加藤", "カトウ", "kato"), ("吉田", "ヨシダ", "yoshida"), ("髙﨑", "タカサキ", "takasaki"),
    ("松本", "マツモト", "matsumoto"), ("井上", "イノウエ", "inoue"), ("木村", "キムラ", "kimura"),
    ("清水", "シミズ", "shimizu"), ("森", "モリ", "mori"), ("阿部", "アベ", "abe"),
    ("橋本", "ハシモト", "hashimoto"), ("石川", "イシカワ", "ishikawa"),
)  # fmt: skip
_GIVEN = (
    ("太郎", "タロウ", "taro"), ("花子", "ハナコ", "hanako"), ("健一", "ケンイチ", "kenichi"),
    ("美咲", "ミサキ", "misaki"), ("大輔", "ダイスケ", "daisuke"), ("陽子", "ヨウコ", "yoko"),
    ("翔太", "ショウタ", "shota"), ("さくら", "サクラ", "sakura"), ("誠", "マコト", "makoto"),
    ("由美", "ユミ", "yumi"), ("拓也", "タクヤ", "takuya"), ("直子", "ナオコ", "naoko"),
)  # fmt: skip
_TRADES = (
    ("製作所", "セイサクショ", "seisakusho"), ("商事", "ショウジ", "shoji"), ("電機", "デンキ", "denki"),
    ("建設", "ケンセツ", "kensetsu"), ("運輸", "ウンユ", "unyu"), ("食品", "ショクヒン", "shokuhin"),
    ("印刷", "インサツ", "insatsu"), ("化学工業", "カガクコウギョウ", "kagaku kogyo"),
    ("システムズ", "システムズ", "systems"), ("不動産", "フドウサン", "fudosan"),
    ("精密", "セイミツ", "seimitsu"), ("物産", "ブッサン", "bussan"),
)  # fmt: skip
_TOWNS = (
    ("100", "東京都", "千代田区丸の内"), ("150", "東京都", "渋谷区神南"), ("220", "神奈川県", "横浜市西区みなとみらい"),
    ("460", "愛知県", "名古屋市中区栄"), ("530", "大阪府", "大阪市北区梅田"), ("600", "京都府", "京都市下京区四条通"),
    ("650", "兵庫県", "神戸市中央区三宮町"), ("730", "広島県", "広島市中区紙屋町"),
    ("812", "福岡県", "福岡市博多区博多駅前"), ("060", "北海道", "札幌市中央区北一条西"),
    ("980", "宮城県", "仙台市青葉区一番町"), ("900", "沖縄県", "那覇市久茂地"),
)  # fmt: skip
WORKS = (
    "基幹システム改修", "在庫管理システム構築", "Webサイトリニューアル", "会計データ移行", "倉庫レイアウト設計",
    "ネットワーク更新工事", "帳票電子化支援", "生産管理コンサルティング", "セキュリティ診断", "保守運用(年間)",
)  # fmt: skip
LINE_ITEMS = (
    "要件定義", "基本設計", "詳細設計", "プログラム開発", "結合テスト", "総合テスト", "導入支援", "操作研修",
    "保守費用", "クラウド利用料", "交通費実費", "資料作成",
)  # fmt: skip
TASKS = ("打ち合わせ", "設計書作成", "実装", "レビュー", "テスト", "障害調査", "顧客先作業", "議事録作成", "移動")
MEMOS = (
    "締め日は月末、翌月末払い。", "請求書は郵送も希望(PDFのみ不可)。", "担当者変更あり、要確認。",
    "年末年始は12/28〜1/4休業。", "見積りは税抜き表示。\n支払サイト60日。", "「至急」案件が多い。電話連絡を優先。",
    "", "紹介元:山田様", "契約書の原本は本社🗄️保管。",
)  # fmt: skip
EXPENSES = (
    ("6110", "旅費交通費", "新幹線代"), ("6120", "通信費", "携帯電話料金"), ("6130", "消耗品費", "文房具"),
    ("6140", "地代家賃", "事務所家賃"), ("6150", "会議費", "打ち合わせ飲料代"), ("6160", "外注費", "業務委託料"),
)  # fmt: skip
ACCOUNTS = (
    ("1110", "普通預金", "asset"), ("1210", "売掛金", "asset"), ("2110", "買掛金", "liability"),
    ("2210", "仮受消費税", "liability"), ("3110", "資本金", "equity"), ("4110", "売上高", "revenue"),
    *((code, name, "expense") for code, name, _ in EXPENSES),
)  # fmt: skip


@dataclass(frozen=True)
class Written:
    """A name as it is written, read (katakana) and romanised."""

    name: str
    kana: str
    romaji: str


@dataclass(frozen=True)
class Address:
    """A Japanese postal address."""

    postal_code: str
    prefecture: str
    street: str


def person(random: Random) -> Written:
    """Return a person's name, family name first."""
    family, given = random.choice(_FAMILY), random.choice(_GIVEN)
    return Written(f"{family[0]} {given[0]}", f"{family[1]} {given[1]}", f"{family[2]} {given[2]}")


def company(random: Random) -> Written:
    """Return the name of a company; names may repeat, as they do."""
    family, trade = random.choice(_FAMILY), random.choice(_TRADES)
    core = (f"{family[0]}{trade[0]}", f"{family[1]}{trade[1]}", f"{family[2]} {trade[2]}")
    form = random.choice(("株式会社{}", "{}株式会社", "有限会社{}", "合同会社{}"))
    return Written(form.format(core[0]), core[1], core[2])


def address(random: Random) -> Address:
    """Return an address whose postal code belongs to its prefecture."""
    postal, prefecture, street = random.choice(_TOWNS)
    block = f"{random.randint(1, 9)}丁目{random.randint(1, 30)}番{random.randint(1, 20)}号"
    return Address(f"{postal}-{random.randint(0, 9999):04d}", prefecture, street + block)
