class Words
  def count(text:, session_date:)
    puts "counting words of #{session_date}"
    Digdag.env.store(words: text.split.size)
  end
end
