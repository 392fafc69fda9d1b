"""The ten questions, in French and in English.

The wording follows what the report answers; the sheet of the lab exercise may word them otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """One question of the exercise."""

    number: int
    title_fr: str
    title: str
    french: str
    english: str
    parts: tuple[str, ...] = ()
    """The numbers of its parts, if it has several."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The numbers under which its rows and answers stand."""
        return self.parts or (str(self.number),)

    def to_dict(self) -> dict[str, str | int]:
        """Convert to plain values."""
        return {
            "number": self.number,
            "title_fr": self.title_fr,
            "title": self.title,
            "french": self.french,
            "english": self.english,
        }


QUESTIONS = (
    Question(
        1,
        "Environnement de travail",
        "Environment",
        "Créez un environnement virtuel, installez les dépendances avec "
        "« pip install -r requirements.txt » et affichez les versions de Python, du système et "
        "des bibliothèques.",
        "Create a virtual environment, install the dependencies with "
        "'pip install -r requirements.txt', and print the versions of Python, of the system and of "
        "the libraries.",
    ),
    Question(
        2,
        "Chargement de GPT-2",
        "Loading GPT-2",
        "Téléchargez le modèle GPT-2 124M d'OpenAI et chargez-le. Quelle est la structure de "
        "« settings » ?",
        "Download OpenAI's GPT-2 124M and load it. What is the structure of 'settings'?",
    ),
    Question(
        3,
        "Structure des poids",
        "Structure of the weights",
        "Quelle est la structure de « params » ? Donnez ses clés et les dimensions des tenseurs.",
        "What is the structure of 'params'? Give its keys and the shapes of the tensors.",
    ),
    Question(
        4,
        "Configuration du modèle",
        "Configuration of the model",
        "Faites correspondre « settings » à la configuration que la classe « GPTModel » attend.",
        "Map 'settings' to the configuration that the class 'GPTModel' expects.",
    ),
    Question(
        5,
        "Découpage du jeu de données et répartition des classes",
        "Split of the data and class shares",
        "5.1 Chargez le SMS Spam Collection, mélangez-le avec "
        "« sample(frac=1, random_state=123) » et gardez 80 % des lignes pour l'entraînement et "
        "20 % pour le test. Pourquoi faut-il mélanger avant de découper ? 5.2 Quelle est la "
        "répartition des classes dans chaque partie ? Les classes sont-elles déséquilibrées, et "
        "quel problème cela pose-t-il ?",
        "5.1 Load the SMS Spam Collection, shuffle it with 'sample(frac=1, random_state=123)', and "
        "keep 80 % of the rows for training and 20 % for the test. Why do we shuffle before we "
        "split? 5.2 What are the class shares of each part? Are the classes imbalanced, and which "
        "problem does this cause?",
        ("5.1", "5.2"),
    ),
    Question(
        6,
        "Chargeurs de données",
        "Data loaders",
        "Créez les « DataLoader » avec des lots de 16 messages, complétés à 120 tokens. Quelles "
        "sont les dimensions d'un lot ?",
        "Create the data loaders with batches of 16 messages, padded to 120 tokens. What are the "
        "shapes of a batch?",
    ),
    Question(
        7,
        "Nombre de lots",
        "Number of batches",
        "Sans sous-échantillonnage, combien y a-t-il de lots d'entraînement ? Vérifiez le nombre.",
        "Without undersampling, how many training batches are there? Verify the number.",
    ),
    Question(
        8,
        "Remplacement de la tête de sortie",
        "Replacement of the output head",
        "Remplacez la tête de sortie par une couche pour « num_classes = 2 » et gelez tout sauf "
        "la nouvelle tête et le dernier LayerNorm. Affichez la tête avant et après.",
        "Replace the output head by a layer for 'num_classes = 2', and freeze everything except "
        "the new head and the final LayerNorm. Print the head before and after.",
    ),
    Question(
        9,
        "Entraînement",
        "Training",
        "Entraînez le modèle pendant une époque avec une perte pondérée par classe. Tracez les "
        "courbes de perte et d'exactitude.",
        "Train the model for one epoch with a class-weighted loss. Plot the curves of loss and "
        "accuracy.",
    ),
    Question(
        10,
        "Analyse des résultats",
        "Reading of the result",
        "Analysez les résultats. Pourquoi l'exactitude sur les spams est-elle de 0 %, et comment "
        "améliorer le modèle ?",
        "Read the results. Why is the accuracy on spam 0 %, and how can the model be improved?",
    ),
)
