SELECT isbn, name, language, published FROM title ORDER BY isbn
