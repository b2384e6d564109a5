"""The words of the built-in catalogue: interests, and how each domain speaks of them."""

from __future__ import annotations

from typing import Final

INTERESTS: Final[dict[str, tuple[tuple[str, str, str, str], ...]]] = {
    # Each interest has four aspects, in the order in which people tend to move through them.
    # An aspect has a phrase for each domain: home, books, toys, stationery. They are near in
    # meaning and differ in words, as titles of different shops do.
    "camping": (
        ("Camping Tent", "Life Under Canvas", "Pop-Up Tent Play", "Tent Pattern"),
        ("Campfire", "Cooking Over an Open Fire", "Toy Campfire", "Bonfire Print"),
        ("Hiking Trail", "Long-Distance Walking", "Little Hiker", "Trail Log"),
        ("Sleeping Bag", "Nights in the Wild", "Explorer Backpack", "Wilderness Scene"),
    ),
    "baking": (
        ("Bread Baking", "Sourdough at Home", "Pretend Bakery", "Bread Recipe"),
        ("Cake Decorating", "Layer Cakes", "Birthday Cake", "Cake Design"),
        ("Cookie", "Biscuits and Cookies", "Cookie Shop", "Gingerbread"),
        ("Pastry", "French Patisserie", "Croissant Cafe", "Patisserie"),
    ),
    "drawing": (
        ("Pencil Sketch", "Learning to Draw", "Doodle", "Sketching"),
        ("Watercolour", "Watercolour Landscapes", "Painting", "Watercolour Art"),
        ("Calligraphy", "Hand Lettering", "Alphabet Stencil", "Calligraphy Lettering"),
        ("Artist Easel", "Portrait Painting", "Little Artist", "Artist Portrait"),
    ),
    "cats": (
        ("Kitten", "Raising a Kitten", "Plush Kitten", "Cute Kitten"),
        ("Cat Lover", "Understanding Your Cat", "Toy Cat", "Cat Illustration"),
        ("Tabby Cat", "The Cat Who Came Home", "Tabby Puppet", "Tabby Paw Print"),
        ("Whisker", "A History of Cats", "Cat Family", "Sleeping Cat"),
    ),
    "dogs": (
        ("Puppy", "Puppy Training", "Plush Puppy", "Puppy Photo"),
        ("Dog Walking", "Walks with Dogs", "Walking Toy Dog", "Dog Walker"),
        ("Retriever", "Stories of a Loyal Retriever", "Rescue Dog", "Golden Retriever"),
        ("Dog Grooming", "Dog Health", "Pet Vet", "Terrier Dog"),
    ),
    "gardening": (
        ("Seedling", "Growing from Seed", "Grow-Your-Own Seed", "Seed Packet"),
        ("Rose Garden", "The Rose Gardener", "Flower Garden", "Rose Blossom"),
        ("Vegetable Garden", "The Kitchen Garden", "Vegetable Patch", "Vegetable Plot"),
        ("Greenhouse", "Orchids Under Glass", "Mini Greenhouse", "Botanical Fern"),
    ),
    "running": (
        ("Running", "Couch to Five Kilometres", "Racing Runner", "Running Log"),
        ("Marathon", "Marathon Training", "Athletics Track", "Marathon Training"),
        ("Stretching", "Injury-Free Running", "Gym Figure", "Workout Stretch"),
        ("Race Day Medal", "Ultra Runners", "Winner Podium", "Race Medal"),
    ),
    "cycling": (
        ("Bicycle", "Bicycle Maintenance", "Balance Bike", "Vintage Bicycle"),
        ("Road Bike", "Racing the Tour", "Racing Cyclist", "Road Cycling"),
        ("Mountain Bike", "Mountain Bike Trails", "Stunt Bike", "Mountain Biker"),
        ("Cycling Tour", "Across Europe by Bike", "Bike Courier", "Cycle Touring"),
    ),
    "coffee": (
        ("Espresso", "The Espresso Handbook", "Toy Espresso Machine", "Espresso Cup"),
        ("Coffee Bean", "Roasting Coffee Beans", "Coffee Shop", "Coffee Bean Motif"),
        ("Pour-Over Coffee", "Brewing Better Coffee", "Barista", "Brewed Coffee"),
        ("Latte", "The Latte Artist", "Breakfast Cafe", "Cappuccino"),
    ),
    "astronomy": (
        ("Night Sky", "Stargazing", "Star Projector", "Starry Sky"),
        ("Moon Phase", "The Moon", "Moon Lander", "Lunar Phase"),
        ("Planet", "A Tour of the Planets", "Solar System", "Planetary Orbit"),
        ("Galaxy", "Galaxies and Black Holes", "Galaxy Rocket", "Milky Way"),
    ),
    "ocean": (
        ("Seashell", "Shells of the Shore", "Beach Shell", "Seashell Watercolour"),
        ("Whale", "In the Wake of Whales", "Plush Whale", "Humpback Whale"),
        ("Coral Reef", "Life on the Reef", "Coral Fish", "Reef Fish"),
        ("Sailing", "Sailing Alone", "Sailing Boat", "Nautical Sail"),
    ),
    "music": (
        ("Acoustic Guitar", "Guitar for Beginners", "Toy Guitar", "Guitar Chord"),
        ("Piano", "The Piano Lesson", "Floor Piano", "Piano Sheet Music"),
        ("Vinyl Record", "A History of Jazz Records", "Sing-Along Record", "Retro Vinyl"),
        ("Drum", "The Drummer's Handbook", "Drum Set", "Drummer Rhythm"),
    ),
    "sewing": (
        ("Sewing", "Sewing from Scratch", "Sewing Craft", "Sewing Pattern"),
        ("Quilting", "Patchwork Quilts", "Patchwork Doll", "Quilt Block"),
        ("Knitting", "Knitting Sweaters", "Knitting Loom", "Yarn and Knitting"),
        ("Embroidery", "Embroidered Flowers", "Cross-Stitch", "Embroidery Stitch"),
    ),
    "dinosaurs": (
        ("Dinosaur", "The Age of Dinosaurs", "Dinosaur Figure", "Dinosaur"),
        ("Fossil", "Hunting Fossils", "Fossil Dig", "Fossil Drawing"),
        ("Tyrannosaurus", "Tyrannosaurus, King of Lizards", "Roaring T-Rex", "T-Rex"),
        ("Prehistoric Volcano", "Before the Mammals", "Volcano Science", "Jurassic Volcano"),
    ),
    "trains": (
        ("Steam Train", "The Golden Age of Steam", "Steam Engine", "Steam Locomotive"),
        ("Railway Station", "Stations of the World", "Train Station", "Railway Timetable"),
        ("Model Railway", "Building a Model Railway", "Wooden Train Track", "Railway Map"),
        ("Express Train", "Across Asia by Express", "High-Speed Train", "Night Express Train"),
    ),
    "yoga": (
        ("Yoga", "Yoga for Every Morning", "Yoga Animal", "Yoga Pose"),
        ("Meditation", "The Quiet Mind", "Calming Sensory", "Mindful Meditation"),
        ("Lotus", "Breathing and Balance", "Balance Board", "Lotus Flower"),
        ("Incense", "Journeys to Indian Temples", "Relaxing Bubble", "Mandala"),
    ),
}
"""Sixteen interests of four aspects."""

BRANDS: Final[dict[str, tuple[str, ...]]] = {
    "home": ("Larkfield", "Northmere", "Oakhaven", "Tidewell", "Brightwood", "Hearthly"),
    "books": ("Anna Reed", "T. Moreau", "Ines Calder", "J. Okoro", "Mira Holm", "Paul Vance"),
    "toys": ("Tumblejoy", "Pipkin", "Bizzle", "Wonderoo", "Kiddlewick", "Jollycraft"),
    "stationery": ("Papermill", "Inkwell & Co", "Quillby", "Foliano", "Deskmate", "Margin"),
}
"""Makers, or authors, of each domain. All invented."""

PRODUCTS: Final[dict[str, tuple[str, ...]]] = {
    # People who bought one tend to buy the next.
    "home": ("Mug", "Tray", "Cushion Cover", "Throw Blanket", "Wall Clock", "Storage Basket"),
    "books": (
        "A Beginner's Guide",
        "The Complete Handbook",
        "Stories and Essays",
        "An Illustrated History",
        "Advanced Techniques",
        "A Memoir",
    ),
    "toys": ("Playset", "Puzzle", "Building Kit", "Board Game", "Costume", "Activity Book"),
    "stationery": ("Notebook", "Sticker Sheet", "Gel Pen Set", "Greeting Cards", "Desk Planner"),
}
"""Product types of each domain."""

FINISHES: Final[dict[str, tuple[str, ...]]] = {
    "home": ("Forest Green", "Cream", "Slate Grey", "Navy", "Terracotta", "Sage &amp; White"),
    "books": ("Paperback", "Hardcover", "Second Edition", "Pocket Edition", "Text &amp; Photos"),
    "toys": ("24 Pieces", "60 Pieces", "Ages 3 &amp; Up", "Ages 6 &amp; Up", "Deluxe", "Mini"),
    "stationery": ("Pack of 2", "Pack of 6", "A5", "A6", "Recycled Paper", "Gold &amp; Black"),
}
"""What tells variants apart; with entities, as raw titles of shops have them."""
