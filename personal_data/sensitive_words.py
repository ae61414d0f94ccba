"""The words by which private matters are known (`sensitive.py`), in English and the core of German,
French and Spanish.

Entries stand between commas. `divorc*` is any word that begins so, `*krebs` any that ends so; `a|b` is either; several
words must follow each other. Case, accents and apostrophes count for nothing. Whoever adds a word adds a sentence to
`tests/personal_data/test_sensitive.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

MATTERS: Mapping[str, str] = {
    "health": """
        ill, illness*, sick, sickness, disease*, diagnos*, symptom*, medicine*, medica*, prescri*, pill, pills,
        antibiotic*, antidepress*, insulin, painkill*, chemo, chemotherap*, radiotherap*, vaccin*, doctor, doctors,
        physician*, surgeon*, surger*, surgical, hospital*, clinic, clinics, clinical, psychiatr*, psychologist*,
        psychotherap*, therapist*, therapy, therapies, dentist*, dental, gynaecolog*, gynecolog*, oncolog*, cardiolog*,
        dermatolog*, cancer*, tumour*, tumor*, leukaemia, leukemia, diabet*, asthma*, allerg*, epilep*, seizure*,
        migraine*, headache*, ache, aches, arthritis, autis*, adhd, bipolar, schizo*, dementia, alzheimer*, parkinson*,
        covid*, hiv, hepatitis, herpes, infection*, infected, pneumonia, bronchitis, influenza, flu, fever*, cough*,
        nausea*, vomit*, dizz*, insomnia*, depressed, depressi*, anxiety*, panic attack*, burnout, suicid*, self harm*,
        anorex*, bulimi*, disorder*, disabled, disabilit*, wheelchair*, addict*, alcoholism, an|recovering alcoholic,
        rehab*, overdose*, pregnan*, miscarr*, abortion*, ivf, infertil*, menopaus*, menstrua*, my|her period,
        blood pressure|sugar|test|tests|type|count, cholesterol, heart attack*|disease*|condition*|failure|rate,
        pacemaker*, had|suffered|a stroke, fracture*, sprain*, injur*, concussion*, wounded, pain, pains,
        an|my operation,
        broke|broken|breaks my|his|her|a leg|arm|ankle|wrist|foot|hip|nose|rib|knee, mental health, my|her|his health,
        health problem*|issue*|condition*|insurance, overweight, obes*, lost|gained|lose|gain weight, i weigh,
        hearing aid*, thyroid*, kidney stone*|failure|disease, ulcer*, eczema, psoriasis, std, sti,
        krank*, erkrank*, *krankheit, *krebs, *arzt, *arztin, arzt*, ärzt*, klinik*, spital*, medikament*, tablette*,
        antibiotik*, impf*, schmerz*, *schmerzen, migräne*, meine|eine|der operation, therapie*, therapeut*,
        psychologe*, psychologin*, schwanger*, fehlgeburt*, abtreib*, sucht, süchtig*, alkoholiker*, behindert*,
        behinderung*, blutdruck, blutwert*, herzinfarkt*, schlaganfall*, fieber, grippe, husten, verletz*, selbstmord*,
        suizid*, magersucht, übergewicht*,
        malad*, médecin*, docteur, hôpital, hôpitaux, clinique, ordonnance, diabète, déprim*, enceinte, avortement,
        grossesse, asthme, douleur*, chirurg*, opéré, opérée, fièvre, psychologue*, handicapé*, alcoolique*,
        mal à la|l tête|gorge|estomac, mal au|aux dos|ventre|dents, crise cardiaque, blessé*, blessure*, tumeur*,
        enferm*, médico, médicos, embaraz*, aborto, dolor, asma, alergi*, cirugía*, fiebre, gripe, psiquiatr*,
        psicólog*,
        deprimid*, discapac*, pastilla*, infarto*, operaron, herido, herida, vacun*
    """,
    "money": """
        salary, salaries, wage, wages, income*, earn, earns, earned, earnings, debt, debts, loan, loans, mortgage*,
        overdraft*, bank account*|loan*|card*|statement*, my|our|his|her|their|the bank, banking, iban,
        account number*,
        card number*, credit card*|score*, debit card*, savings, invest, invests, invested, investing, investment*,
        stocks, my|our|his|her shares, pension*, bankrupt*, insolven*, owe, owes, owed, owing, tax, taxes, taxed,
        my|our|his|her|the rent, pay|pays|paid rent, inheritance*, payroll, payslip*, paycheck*, pay rise|cut,
        cannot|not|t afford, i am broke, i m broke, alimony, child support, net worth, crypto, cryptocurrenc*,
        bitcoin*,
        finances, financial*, my|our|his|her|no|borrow|borrowed|lend|lent|lost money, welfare, unemployment benefit*,
        life insurance, wealth*, millionaire*,
        gehalt, gehälter, gehalts*, lohn, löhne, schulden, *schulden, verschuld*, schulde, schuldet, kredit, kredite,
        kreditkarte*, hypothek*, darlehen*, konto, *konto, kontostand, kontonummer, bei|von der bank, steuererkl*,
        steuerschuld*, steuernachzahl*, finanzamt, einkommen*, verdiene, meine|unsere|die miete, erspart*, ersparnis*,
        erbschaft*, rente, insolvenz*, pleite, aktien, geld, *geld,
        salaire*, dette*, endetté*, prêt immobilier|bancaire, crédit immobilier, compte bancaire|courant, banque,
        impôt*,
        loyer*, un héritage, ma|sa retraite, je gagne, argent, chômage, faillite,
        sueldo*, salario*, nómina, deuda*, hipoteca*, préstamo*, cuenta bancaria|corriente, mi|su banco, impuesto*,
        alquiler*, herencia*, dinero, gano, ahorros, quiebra, debo
    """,
    "law": """
        lawyer*, attorney*, solicitor*, barrister*, lawsuit*, sued, suing, sue him|her|them|me|my|the, court, courts,
        courtroom*, prosecut*, indict*, arrest, arrested, arrests, police, prison, prisons, imprison*, jail*,
        probation,
        parole, convicted, conviction*, criminal record*|charge*|case*|offence*|offense*, felony, misdemeanor, guilty,
        accused, testif*, subpoena*, verdict*, the judge, divorc*, custody, restraining order*, immigration,
        residence|work permit*, visa application*|status|expired|expires|denied, asylum, deport*, undocumented,
        last will,
        testament*, probate, notary, legal, legally, litiga*, plaintiff*, defendant*, speeding ticket*, parking fine*,
        drunk driving, dui, evict*, nda, non disclosure, bail, prenup*, injunction*,
        anwalt, *anwalt, anwält*, vor gericht, gerichts*, klage, verklag*, polizei*, gefängnis*, verhaftet*,
        vorbestraft*,
        strafanzeige*, strafverfahren*, bewährung*, scheidung*, geschieden*, scheiden lassen, sorgerecht*,
        aufenthaltserlaubnis, aufenthaltstitel, asyl*, abschieb*, abgeschoben, notar, notarin, rechtsstreit*,
        mon|ma|notre|son|l avocat|avocate, tribunal*, procès, garde à vue, garde des enfants, juge, plainte*, condamn*,
        titre de séjour, asile, notaire*, casier judiciaire,
        abogad*, juez, jueza, juicio*, policía*, cárcel*, prisión, custodia, denuncia*, denunci*, condenad*,
        permiso de residencia, asilo, notario, antecedentes penales
    """,
    "sexuality": """
        sex, sexual*, sexting, gay, gays, lesbian*, bisexual*, bi sexual, homosexual*, asexual*, pansexual*,
        heterosexual*,
        queer*, transgender*, transsexual*, transexual*, trans man|woman|person, am trans, nonbinary, non binary,
        lgbt*,
        coming|came|come out as, came|come out to, porn*, erotic*, orgasm*, condom*, contracepti*, libido, viagra,
        an affair,
        affair with, cheated|cheating|cheats on, fetish*, kink*,
        slept|sleep|sleeping with him|her|my|a|somebody|someone,
        hooked|hook up with, one night stand*, nudes, virginity, dating app*, tinder, grindr,
        schwul*, lesbisch*, lesbe, lesben, bisexuell*, homosexuell*, sexuell*, affäre*, fremdgegangen, fremdgeh*,
        geoutet,
        verhütung*, kondom*, porno*,
        lesbienne*, homosexuel*, bisexuel*, sexuel*, infidèle*, préservatif*, une liaison avec,
        lesbiana*, sexo, infiel, amante, preservativo*
    """,
    "location": """
        my|our|his|her|their|home|postal|street|email|mail address, address is,
        live|lives|lived|living in|near|next|on,
        i|we|he|she|they live|lives at, moved to|into|house, moving to|into|house,
        where i|we|he|she|they live|lives|work|works,
        staying at|with, stays at, whereabouts, gps, coordinates, my|current location, postcode*, zip|postal code*,
        am|m home alone, out of town, house is|stands empty, nobody is home, phone|telephone|mobile number*,
        my|his|her number is, number of my|his|her, my|our|his|her house|flat|apartment|office|school is in|at|on|near,
        wohne, wohnt, wohnen, adresse*, anschrift*, postleitzahl*, telefonnummer*, handynummer*, umgezogen,
        mein standort,
        verreist,
        habite, habitent, habitons, je vis à|en, vit à|en, numéro de téléphone, code postal, déménag*,
        vivo|vive|vivimos|viven en, mi|su dirección, número de teléfono, código postal, me mudé, estoy en
    """,
}
"""By kind; where one lives, is, or can be reached is `location`."""

OF_OTHERS = """
    birthday*, born, broke|broken|breaking up, fired, laid off, adopted, secret, secrets, in confidence, confidential*,
    geburtstag*, geboren, gekündigt, geheimnis*, anniversaire*, né, née, licencié*, cumpleaños, nació, despidieron,
    secreto*
"""
"""What is a private matter only where it is somebody else's."""

HARMLESS = """
    river|sand|south|north|left|right bank, bank holiday*, bank of the river, computer virus*, sick of,
    doctor who|strange|zhivago,
    cabin|spring|night fever, great|tropical depression, pain au|aux|de|complet|perdu|d,
    le|du|un|au|mon|bon|petit|ce pain,
    petits|les pains, tennis|basketball|squash|badminton|volleyball|food|royal court*, courtroom drama*,
    old|new testament, guilty pleasure*, prison film*|movie*|drama*|series|break,
    police film*|movie*|drama*|series|academy,
    verdict on, legally blonde, legal drama*|thriller*,
    no pain no gain, live on stage|air
"""
"""Everyday phrases that hold one of these words."""

PEOPLE = """
    mother*, father*, mum, mom, mummy, dad, daddy, parent, parents, sister*, brother*, son, sons, daughter*, child,
    children, kid, kids, baby, husband*, wife, wives, spouse, partner*, boyfriend*, girlfriend*, ex, fiancé*, uncle*,
    aunt*, cousin*, nephew*, niece*, grandmother*, grandfather*, grandma, grandpa, gran, granny, friend*, neighbour*,
    neighbor*, colleague*, coworker*, boss*, manager*, flatmate*, roommate*, teacher*, pupil*, student*, client*,
    customer*, he, she, him, her, his, hers, somebody, someone,
    mutter, vater, mama, papa, eltern, schwester*, bruder, brüder*, sohn, söhne, tochter, töchter, kind, kinder, mann,
    frau, ehemann, ehefrau, freund, freunde, freundin*, nachbar*, kolleg*, chef, chefin, onkel, tante, neffe, nichte,
    oma,
    opa, großmutter, großvater, er, sie, ihm, ihr, ihn, sein, seine, seinen,
    mère, père, maman, soeur*, sœur*, frère*, fils, fille, filles, enfant*, mari, femme, époux, épouse, conjoint*,
    copain,
    copine, ami, amie, amis, voisin*, collègue*, patron, oncle, neveu, il, elle, lui, sa, ses,
    madre, padre, mamá, papá, hermana*, hermano*, hijo*, hija*, marido, esposa, esposo, mujer, novio*, novia*, amigo*,
    amiga*, vecin*, colega*, jefe, jefa, tío, tía, primo, prima, sobrin*, abuel*, ella, su, sus
"""
"""Words that speak of somebody else."""

ONESELF = """
    i, me, my, mine, myself, we, us, our, ours, ich, mir, mich, mein, meine, meinem, meinen, meiner, meines, wir,
    uns, unser*,
    je, j, moi, mon, ma, mes, nous, notre, nos, yo, mi, mis, nosotros, nuestr*, tengo, estoy, soy, vivo, debo, gano
"""

NO_NAMES = """
    it, this, that, there, here, what, who, where, when, how, why, which, everything, nothing, something, everybody,
    everyone, nobody, one, today, tomorrow, yesterday, monday, tuesday, wednesday, thursday, friday, saturday, sunday,
    january, february, march, april, may, june, july, august, september, october, november, december, let, and, but,
    if,
    das, es, dies, heute, morgen, gestern, hier, ce, c, cela, ça, qui, on, tout, aujourd, hui, esto, eso, hoy, ayer,
    mañana, todo, aquí, you, they, these, those, all, both, he, she, i, we, ich, wir, je, nous, yo
"""
"""Words with a capital, before a verb, that are nobody's name."""

DETERMINERS = """
    a, an, the, my, our, your, his, her, their, its, this, that, der, die, das, dem, den, des, ein, eine, einen, einem,
    einer, mein, meine, meinen, meinem, meiner, unser, unsere, dein, deine, le, la, les, l, un, une, mon, ma, mes,
    notre,
    ce, cette, el, los, las, mi, mis, nuestro, nuestra
"""

DOES = """
    s, has, had, have, is, was, are, were, got, gets, suffers, earns, owes, told, said, says, needs, takes, lives,
    went, and,
    hat, hatte, ist, war, leidet, verdient, wohnt, und, a, avait, est, était, souffre, gagne, habite, et,
    tiene, tenía, es, está, era, estaba, gana, vive, debe, y
"""
"""What follows a name where it is the one spoken of."""
