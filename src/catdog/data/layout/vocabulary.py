"""Words for the splits of a data set in many languages, and words they are combined with."""

from typing import Final, Literal

Split = Literal["train", "validation", "test"]


def words(text: str) -> frozenset[str]:
    """Return the set of words in a text."""
    return frozenset(text.split())


WORDS: Final[dict[Split, frozenset[str]]] = {
    "train": words(
        "train trains training trainings trn trainval trained trainieren lernen lern anlernen ubung "  # English, German
        "apprentissage entrainement entrainer entraine "  # French
        "entrenamiento entrenar entreno aprendizaje "  # Spanish
        "addestramento allenamento apprendimento treino treinamento treinar treinos "  # Italian, Portuguese
        "trainen oefenen traning trening trenowanie treningowe treningowy treninkove trenovani "
        "uczenie uczace treniranje antrenament egitim ogrenme koulutus opetus tanitas tanulas "
        "latihan pelatihan тренировка тренировочная тренировочныи обучение обучающая обучения навчання тренування "
        "εκπαιδευση 訓練 训练 学習 學習 学习 トレーニング 훈련 학습 트레이닝 تدريب אימון"
    ),
    "validation": words(
        "val vals valid validate validating validation validations dev devel validierung validieren validacion validar "
        "validazione validacao validacio validatie valideren validering walidacja walidacyjne walidacyjny validace "
        "validointi validare dogrulama validasi валидация валидации валидационная валідація "
        "επικυρωση 検証 検定 验证 驗證 バリデーション 검증 밸리데이션 تحقق אימות"
    ),
    "test": words(
        "test tests testing tst heldout holdout tested testen prufung prufen pruf testi teste testes testar testowe "
        "testowy testowanie testovani testovaci essai essais epreuve prueba pruebas probar prova prove collaudo proef "
        "provning proba testare testaus teszt uji pengujian тест тесты тестовая тестовыи "
        "проверка проверочная тестирование тестовые тестування "
        "δοκιμη テスト 试验 測試 测试 試験 테스트 시험 اختبار בדיקה"
    ),
}
EVALUATION: Final = words(
    "eval evals evaluate evaluation evaluierung auswertung bewertung evaluacion valutazione avaliacao evaluatie "
    "ewaluacja оценка оцінка 評価 評估 评估 평가"
)
SPLIT_OF: Final[dict[str, Split]] = {
    **{word: split for split, known in WORDS.items() for word in known},
    **dict.fromkeys(EVALUATION, "test"),
}

ENDINGS: Final = words(
    "set sets data dataset datasets image images img imgs pic pics picture pictures photo photos folder dir directory "
    "files split ds gen datagen generator batch daten datensatz datensatze bilder bild satz menge ordner fotos foto "
    "aufnahmen donnees datos dati dados dane gegevens beelden imagenes immagini imagens выборка данные набор"
)
"""Words appended to a split's without a space: `trainset`, `Trainingsdaten`, `testdatagen`."""

SCRIPT_ENDINGS: Final = (
    *("データセット", "データ", "画像", "用", "セット", "数据集", "數據集", "数据", "數據", "图像", "圖像", "图片"),
    *("資料集", "資料", "集", "데이터셋", "데이터", "세트", "이미지", "용"),
)
"""The same in scripts without spaces between words."""

SHORT: Final[dict[str, Split]] = {
    **dict.fromkeys(("tr", "gallery", "seen", "insample"), "train"),
    **dict.fromkeys(("va", "vl", "vd"), "validation"),
    **dict.fromkeys(("te", "ts", "query", "unseen", "outofsample"), "test"),
}
"""Names that mean splits only in pairs with the same folders in them."""

CONTAINED: Final[tuple[tuple[str, Split], ...]] = (("train", "train"), ("valid", "validation"), ("test", "test"))
"""Parts of names that mean splits only in pairs: `mytrain`, `mytest`."""
